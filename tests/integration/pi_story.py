"""What the tests on one Pi use: the lab, the operator's laptop, and the peers' tools."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import CompletedProcess
from typing import Any

from tests.controller import ADDRESS, FIELD_ADDRESS, REPOSITORY, Controller
from tests.virtual_pi import PLAIN, Kind, Lab, Pi

NAME = "pi-north"
# The document's own example: 250 W, 260 W, 48.5 V, 5.36 A, 850 W/m², 45.6 °C, 2016-01-01T06:00:00Z.
EXAMPLE = ["250", "260", "485", "536", "850", "456", str(0x5686), str(0x15E0)]


@contextmanager
def fresh_pi(lab_name: str, site: Mapping[str, Any] | None = None, kind: Kind = PLAIN) -> Iterator[Story]:
    """Boot a freshly flashed Pi in its own lab, and add it to an inventory with the site's variables."""
    with Lab(lab_name) as lab:
        pi = lab.boot(NAME, kind=kind)
        controller = Controller(lab, site)
        controller.add(pi)
        yield Story(lab, pi, controller)


@dataclass
class OptaReads:
    """An Opta's reads: how many, and the attempts without a reply, with their reasons."""

    times: int = 0
    lost: list[str] = field(default_factory=list)


@dataclass
class Story:
    """The lab, its Pi, and the operator's laptop."""

    lab: Lab
    pi: Pi
    controller: Controller

    def mbpoll(self, zone: str, *arguments: str, address: str = ADDRESS) -> CompletedProcess[str]:
        """Run Debian's mbpoll once in a zone, on holding registers with their protocol addresses."""
        return self._mbpoll(zone, "4", *arguments)

    def _mbpoll(self, zone: str, table: str, *arguments: str) -> CompletedProcess[str]:
        command = ["mbpoll", "-m", "tcp", "-a", "1", "-0", "-1", "-t", table, "-o", "3", *arguments]
        return self.lab.run(zone, command, check=False, timeout=30)

    def read(self, zone: str = "control", address: str = ADDRESS) -> list[str]:
        """Return the eight registers, as mbpoll prints them."""
        return _registers(self.mbpoll(zone, "-r", "0", "-c", "8", address))

    def status_block(self) -> list[int]:
        """Return the meter's input registers 0 to 12, read with mbpoll in the control zone."""
        done = self._mbpoll("control", "3", "-r", "0", "-c", "13", ADDRESS)
        return [int(register) for register in _registers(done)]

    def write(self, zone: str, *values: str, address: str = FIELD_ADDRESS) -> CompletedProcess[str]:
        """Write registers from address 0 on."""
        return self.mbpoll(zone, "-r", "0", address, "--", *values)

    @contextmanager
    def opta(self, mode: str, *options: str) -> Iterator[OptaReads]:
        """Run tests/integration/opta.py during the block; the result is complete after the block."""
        program = [sys.executable, "-m", "tests.integration.opta", mode, ADDRESS, *options]
        reads = OptaReads()
        with self.lab.popen("control", program, cwd=REPOSITORY) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()
            try:
                yield reads
            finally:
                printed, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        reads.times, reads.lost = (json.loads(printed)[key] for key in ("reads", "lost"))

    def pings(self, zone: str, address: str) -> bool:
        """Return whether an address answers a ping from a zone."""
        return self.lab.run(zone, ["ping", "-c", "1", "-W", "2", address], check=False).returncode == 0

    def journal(self) -> str:
        """Return the messages of the service's journal since the boot."""
        return self.pi.run(["journalctl", "-b", "-u", "smart-meter", "-o", "cat", "--no-pager"]).stdout

    def events(self, kind: str) -> list[str]:
        """Return the texts of a kind's events that root has added since the boot."""
        return re.findall(rf"^\[EVENT\] {kind} \| (.*)$", self.journal(), re.MULTILINE)

    def serves_within(self, seconds: float) -> float:
        """Wait for a reply to the control zone; return the seconds it took, and fail after `seconds`."""
        started = time.monotonic()
        while True:
            if self.mbpoll("control", "-r", "0", "-c", "8", ADDRESS).returncode == 0:
                return time.monotonic() - started
            assert time.monotonic() - started < seconds, self.journal()
            time.sleep(0.1)


def _registers(done: CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"^\[\d+\]:\s+(\d+)", done.stdout, re.MULTILINE)
