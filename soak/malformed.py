"""A million malformed and random frames, while a well-behaved client reads continuously."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.networks import Networks
from tests.integration.program import Connection, Program, environment
from tests.unit.wire import SAMPLE_REGISTERS, answer, read, write

from soak.machine import descriptors, ending, resident_kib, wait_until, work_folder
from soak.places import networks
from soak.report import Ledger, Outcome, count
from soak.storm import Totals

MAX_GROWTH_KIB = 5 * 1024
PAUSE = 0.001
"""Seconds between a reply and the next request of the well-behaved client."""
_SOURCES = tuple(f"192.168.1.{number}" for number in range(60, 66))
_MAX_SECONDS = 240.0

# The attackers may read and write one meter. The other one can only be written from one address, so that its
# registers are always known.
_CONFIG = """
[server]
frame_timeout = 2
[journal]
statistics_interval = 5
[history]
path = "{path}"
max_samples_per_second = 0
[[meters]]
name = "attacked"
unit_id = 1
[[meters]]
name = "known"
unit_id = 2
[[meters.access]]
zone = "field"
clients = ["192.168.1.50"]
access = "read-write"
[[meters.access]]
zone = "control"
access = "read"
"""


def run(frames: int, seed: int, log: Callable[[str], None]) -> Outcome:
    """Send `frames` frames; the same seed generates the same ones."""
    ledger = Ledger()
    with work_folder("malformed") as folder, networks() as places:
        places.add_addresses("field", [f"{source}/24" for source in _SOURCES])
        config = folder / "config.toml"
        config.write_text(_CONFIG.format(path=folder / "history.db"))
        program = Program(("run", "--config", str(config)), folder, prefix=places.within("pi"))
        with ending(program), reader(places, program) as client:
            pid = program.process.pid
            log("warming up")
            _storm(places, frames // 20, seed + 1, client, log)
            at_start = descriptors(pid), resident_kib(pid)
            totals = _storm(places, frames, seed, client, log)
            same = wait_until(lambda: descriptors(pid) == at_start[0], seconds=10)
            client.read()
            growth = resident_kib(pid) - at_start[1]
            client.check(ledger)
            ledger.expect(totals.frames >= frames, f"only {totals.frames:,} frames were sent in time")
            ledger.expect(totals.unanswered == 0, f"{totals.unanswered:,} frames got no reply")
            ledger.expect(totals.wrong == 0, f"{totals.wrong:,} replies do not match their request")
            ledger.expect(totals.kept_open == 0, f"{totals.kept_open:,} connections were not closed")
            ledger.expect(totals.refused == 0, f"{totals.refused:,} connections were refused")
            ledger.expect(same, f"{descriptors(pid) - at_start[0]} descriptors are leaked")
            ledger.expect(growth < MAX_GROWTH_KIB, f"memory grew by {growth:,} KiB")
            ledger.expect("[UNEXPECTED]" not in program.out, "the journal contains an unexpected error")
            code, _ = program.stop()
            ledger.expect(
                (code, program.err) == (0, ""), f"the program ended with {code}, {program.err[-200:]!r}"
            )
    return ledger.outcome(
        f"malformed and random frames from {len(_SOURCES)} clients, while another client reads",
        f"{count(totals.frames, 'frame')} over {count(totals.connections, 'connection')}; "
        f"{count(client.reads, 'read')} meanwhile",
        f"0 of {totals.answered:,} replies, 0 reads (slowest {client.slowest * 1000:.0f} ms), 0 descriptors; "
        f"memory {growth:+,} KiB of {at_start[1]:,}"
        if not ledger.failures
        else f"memory {growth:+,} KiB, slowest read {client.slowest * 1000:.0f} ms",
    )


@contextmanager
def reader(places: Networks, program: Program) -> Iterator[Client]:
    """Write a sample from the field zone, and yield a client that reads it from the control zone."""
    program.wait_for("^Waiting for:$")
    with places.inside("field"), Connection(502, "192.168.1.100") as writer:
        writer.ask(write(0, unit=2))
    with places.inside("control"):
        connection = Connection(502, "192.168.2.100")
    with connection:
        client = Client(connection)
        client.read()
        yield client


class Client:
    """Sends one valid request after another, and checks each reply."""

    def __init__(self, connection: Connection) -> None:
        self.reads = 0
        self.wrong = 0
        self.slowest = 0.0
        """Seconds."""
        self._connection = connection
        self._expected = answer(2, SAMPLE_REGISTERS)

    def read(self) -> None:
        """Read once. Raises OSError if there is no reply."""
        started = time.monotonic()
        reply = self._connection.ask(read(0, len(SAMPLE_REGISTERS), unit=2))
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.reads += 1
        self.wrong += reply != self._expected

    def check(self, ledger: Ledger) -> None:
        """Record the client's failures."""
        ledger.expect(self.wrong == 0, f"{self.wrong:,} of the client's reads got a wrong reply or none")
        ledger.expect(self.reads > 100, f"the client read only {count(self.reads, 'time')}")


def _storm(places: Networks, frames: int, seed: int, client: Client, log: Callable[[str], None]) -> Totals:
    """Let the attackers send `frames` frames while the client reads; return their totals."""
    command = (
        *(*places.within("field"), sys.executable, "-m", "soak.storm", "192.168.1.100", "502"),
        *("--frames", str(frames), "--seed", str(seed), "--sources", *_SOURCES),
    )
    totals = Totals()
    logged = time.monotonic()
    deadline = logged + _MAX_SECONDS
    with _lines_of(command) as (process, lines):
        while process.poll() is None and time.monotonic() < deadline:
            client.read()
            time.sleep(PAUSE)
            if time.monotonic() - logged > 5 and lines:
                logged = time.monotonic()
                log(f"{json.loads(lines[-1])['frames']:,} of {frames:,} frames")
    if lines:
        totals = Totals(**json.loads(lines[-1]))
    return totals


@contextmanager
def _lines_of(command: tuple[str, ...]) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start a command and collect its lines; kill it at the end of the block, if it is still running."""
    lines: list[str] = []
    root = str(Path(__file__).parents[1])
    variables = environment()
    variables["PYTHONPATH"] += f":{root}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]  # see above
        reader.start()
        try:
            yield process, lines
        finally:
            if process.poll() is None:
                process.kill()
            reader.join()
