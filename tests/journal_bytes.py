"""Measure what the journal takes, for docs/operations.md: on the card, and of its writes.

    sudo .venv/bin/python -m tests.journal_bytes --seconds 600

A device sends a sample every two seconds, and a PLC reads ten times a second. The lines are those of the
concentrator itself. A journald of its own writes them to a separate ext4 file system on a loop device, with
the settings that the appliance role gives it. It runs in a mount namespace: this machine's journal gets
nothing. Needs root.

First the lines of two days are written at once: what a line takes in the file. Then those of `--seconds` in
real time, since the kernel writes changed pages by time: what the card receives. journald maps its file into
memory, so a line changes a few pages all over it, and ext4 notes the file's new time every five seconds. From
Linux 6.16 on, ext4 writes up to some ten pages for one that changed (large folios); a Pi's kernel (6.12) does
not, so the pages that changed are counted as well.
"""

from __future__ import annotations

import argparse
import json
import math
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.registers.register_map import PV_MAP
from tests.history_bytes import SECTOR, card, sectors

DAY = 86_400
PAGE = 4096
EXPIRE = 30
"""Seconds after which the kernel writes a changed page (vm.dirty_expire_centisecs)."""
JOURNALD = Path("/usr/lib/systemd/systemd-journald")
NAMESPACE = "card"
SOCKET = f"/run/systemd/journal.{NAMESPACE}/stdout"
SETTINGS = Path(__file__).parent / "unit/roles/golden/default/etc/systemd/journald.conf.d/50-smart-meter.conf"
STREAM = "smart-meter\nsmart-meter.service\n6\n0\n0\n0\n0\n"
"""How a service's standard output is announced to journald: name, unit, priority, and four switches."""
_HEADER = struct.Struct("<136xQQQ")
"""Offset of the last object, objects and entries, in a journal file (systemd.journal-files)."""


class Rates(NamedTuple):
    """What happens in the time that is measured."""

    sample: float = 2.0
    """Seconds between two samples."""
    reads: int = 10
    """Reads a second."""
    statistics: float = Config().journal.statistics_interval
    """Seconds between two statistics lines."""


class Measured(NamedTuple):
    """What was measured."""

    lines_a_day: int
    bytes_a_line: float
    """In the journal's file, everything included."""
    written_a_day: float
    """Bytes that the card received, with this machine's kernel."""
    changed_a_day: float
    """Bytes of the pages that changed within each 30 s, which is when the kernel writes them."""

    @property
    def bytes_a_day(self) -> float:
        """Return how much of the journal's limit a day takes."""
        return self.lines_a_day * self.bytes_a_line

    def days(self, limit: float) -> float:
        """Return how many days the journal holds. limit: in bytes."""
        return limit / self.bytes_a_day


def changed_pages(before: bytes, after: bytes) -> int:
    """Return how many pages of a file changed or were added."""
    return sum(before[at : at + PAGE] != after[at : at + PAGE] for at in range(0, len(after), PAGE))


def lines(seconds: int, rates: Rates, begin: int = 0) -> Iterator[tuple[int, str]]:
    """Return the concentrator's lines, each with the second in which it is written.

    begin: the second of the first sample; other samples have other lines.
    """
    now = 1000.0
    written: list[str] = []
    concentrator = Concentrator(Config(), written.append, lambda: now, lambda: 1.6e9 + now)
    esp32, opta = concentrator.admit("192.168.1.50"), concentrator.admit("192.168.2.10")
    assert esp32
    assert opta
    read = bytes.fromhex("0001 0000 0006 01 03 0000 0008")
    due_sample, due_statistics = 0.0, rates.statistics
    for second in range(seconds):
        if second >= due_sample:
            due_sample += rates.sample
            esp32.respond(sample(begin + second))
        for _ in range(rates.reads):
            if opta.cached_reply(read) is None:
                opta.respond(read)
        if second >= due_statistics:
            due_statistics += rates.statistics
            age = concentrator.age()
            written.append(concentrator.formatter.statistics(concentrator.statistics, age, final=False))
        now += 1
        concentrator.tick()
        for line in written:
            yield second, line
        written.clear()


def sample(second: int) -> bytes:
    """Return a write of a sample whose values change as those of a photovoltaic system do."""
    sun = max(0.0, math.sin(second / DAY * math.tau)) * (1 + 0.05 * math.sin(second / 7))
    noise = second * 7919 % 97 / 97
    values = (3500 * sun, 3600 * sun, 400 + 20 * noise, 9 * sun + 0.1 * noise, 950 * sun, 25 + 30 * sun)
    registers = b"".join(
        struct.pack(f">{measurement.width}H", *measurement.encode(value))
        for measurement, value in zip(PV_MAP.measurements, (*values, 1_600_000_000 + second), strict=True)
    )
    return struct.pack(">HHHB", 1, 0, 7 + len(registers), 1) + b"\x10\0\0\0\x08\x10" + registers


class Journald:
    """A journald of its own, in this process's mount namespace."""

    def __init__(self) -> None:
        for folder in ("/run", "/etc/systemd"):
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        Path("/run/log").mkdir()
        # Audit= without a value, and without the capability: this kernel's auditing stays as it is.
        limits = "RateLimitIntervalSec=0\nSystemKeepFree=1M\nForwardToSyslog=no\nAudit=\n"
        Path(f"/etc/systemd/journald@{NAMESPACE}.conf").write_text(SETTINGS.read_text() + limits)
        self._process = subprocess.Popen(
            ["setpriv", "--bounding-set=-audit_control,-audit_read", JOURNALD, NAMESPACE],
            stderr=subprocess.DEVNULL,
        )
        self._stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deadline = time.monotonic() + 10
        while True:
            try:
                self._stream.connect(SOCKET)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._stream.sendall(STREAM.encode())
        self._sent = 0

    def write(self, line: str) -> None:
        """Write a line as the service does."""
        self._stream.sendall(f"{line}\n".encode())
        self._sent += line.count("\n") + 1

    def used(self) -> int:
        """Return the bytes used in the journal's files once all lines are in them."""
        while True:
            found = [_HEADER.unpack_from(path.read_bytes()[:200]) for path in self._files()]
            if sum(entries for _, _, entries in found) >= self._sent:
                return sum(last for last, _, _ in found)
            time.sleep(0.2)

    def content(self) -> bytes:
        """Return what is in the journal's files, one after another."""
        return b"".join(path.read_bytes() for path in sorted(self._files()))

    def stop(self) -> None:
        """End it."""
        self._stream.close()
        self._process.terminate()
        self._process.wait()

    @staticmethod
    def _files() -> list[Path]:
        return list(Path("/var/log/journal").glob("*/*.journal"))


def measure(seconds: int, rates: Rates) -> Measured:
    """Measure in a mount namespace of this process's own."""
    with tempfile.TemporaryDirectory() as name, card(Path(name)) as (folder, counters):
        (folder / "journal").mkdir()
        subprocess.run(["mount", "--bind", folder, "/var/log"], check=True)
        journald = Journald()
        try:
            # No line twice: journald would store its text once.
            days: tuple[list[str], list[str]] = [], []
            for second, line in lines(2 * DAY, rates):
                days[second >= DAY].append(line)
            used = []
            for day in days:
                for line in day:
                    journald.write(line)
                used.append(journald.used())
            subprocess.run(["sync", "--file-system", folder], check=True)
            before, began = sectors(counters), time.monotonic()
            content, changed, due = journald.content(), 0, EXPIRE
            for second, line in [*lines(seconds, rates, 2 * DAY), (seconds, "the end")]:
                time.sleep(max(began + second - time.monotonic(), 0))
                if second >= due:
                    due += EXPIRE
                    earlier, content = content, journald.content()
                    changed += changed_pages(earlier, content)
                journald.write(line)
            written = (sectors(counters) - before) * SECTOR
        finally:
            journald.stop()
            subprocess.run(["umount", "/var/log"], check=True)
    in_a_day, number = DAY / seconds, len(days[1])
    return Measured(number, (used[1] - used[0]) / number, written * in_a_day, changed * PAGE * in_a_day)


def bytes_per_day(seconds: int = 600, rates: Rates | None = None) -> Measured:
    """Measure what the journal takes a day. seconds: of the part in real time."""
    chosen = rates or Rates()
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.journal_bytes"]
    options = ["--inside", "--seconds", str(seconds), *options_of(chosen)]
    done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE, text=True)
    return Measured(*json.loads(done.stdout))


def options_of(rates: Rates) -> Sequence[str]:
    """Return the options of the command line for these rates."""
    return [word for name, value in rates._asdict().items() for word in (f"--{name}", str(value))]


def main() -> None:
    """Print a row of the table."""
    parser = argparse.ArgumentParser(description="Measure what the journal takes.")
    parser.add_argument("--seconds", type=int, default=600, help="of the part in real time")
    parser.add_argument("--sample", type=float, default=Rates().sample, help="seconds between two samples")
    parser.add_argument("--reads", type=int, default=Rates().reads, help="reads a second")
    parser.add_argument("--statistics", type=float, default=Rates().statistics, help="statistics_interval")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rates = Rates(arguments.sample, arguments.reads, arguments.statistics)
    if arguments.inside:
        print(json.dumps(measure(arguments.seconds, rates)))
        return
    found = bytes_per_day(arguments.seconds, rates)
    print("| lines a day | bytes a line | MB a day | days in 1G | GB a year: written | pages that changed |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(
        f"| {found.lines_a_day:,} | {found.bytes_a_line:.0f} | {found.bytes_a_day / 1e6:.1f} |"
        f" {found.days(2**30):.0f} | {found.written_a_day * 365.25 / 1e9:.0f} |"
        f" {found.changed_a_day * 365.25 / 1e9:.0f} |"
    )


if __name__ == "__main__":
    main()
