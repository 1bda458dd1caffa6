"""A million malformed and random frames, while a well-behaved client asks and asks."""

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
_MOST_SECONDS = 240.0

# The attackers may do all they like with one meter; the other one is written by one address alone, so that
# its registers are known at any time.
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


def run(frames: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Send so many frames; the same seed sends the same ones."""
    ledger = Ledger()
    with work_folder("malformed") as folder, networks() as places:
        places.add_addresses("field", [f"{source}/24" for source in _SOURCES])
        config = folder / "config.toml"
        config.write_text(_CONFIG.format(path=folder / "history.db"))
        program = Program(("run", "--config", str(config)), folder, prefix=places.within("pi"))
        with ending(program), reader(places, program) as client:
            pid = program.process.pid
            say("warming up")
            _storm(places, frames // 20, seed + 1, client, say)
            at_start = descriptors(pid), resident_kib(pid)
            totals = _storm(places, frames, seed, client, say)
            same = wait_until(lambda: descriptors(pid) == at_start[0], seconds=10)
            client.ask()
            growth = resident_kib(pid) - at_start[1]
            client.tell(ledger)
            ledger.expect(totals.frames >= frames, f"only {totals.frames:,} frames were sent in time")
            ledger.expect(totals.unanswered == 0, f"{totals.unanswered:,} frames got no answer")
            ledger.expect(totals.wrong == 0, f"{totals.wrong:,} replies fit no request")
            ledger.expect(totals.kept_open == 0, f"{totals.kept_open:,} connections were not ended")
            ledger.expect(totals.refused == 0, f"{totals.refused:,} connections could not be made")
            ledger.expect(same, f"{descriptors(pid) - at_start[0]} descriptors")
            ledger.expect(growth < MAX_GROWTH_KIB, f"{growth:,} KiB of memory")
            ledger.expect("[UNEXPECTED]" not in program.out, "the journal tells of something unexpected")
            code, _ = program.stop()
            ledger.expect(
                (code, program.err) == (0, ""), f"a clean end: exit code {code}, {program.err[-200:]!r}"
            )
    return ledger.outcome(
        f"malformed and random frames from {len(_SOURCES)} clients, while another one reads",
        f"{count(totals.frames, 'frame')} over {count(totals.connections, 'connection')}; "
        f"{count(client.asked, 'read')} beside them",
        f"0 of {totals.answered:,} answers, 0 reads (slowest {client.slowest * 1000:.0f} ms), 0 descriptors; "
        f"memory {growth:+,} KiB of {at_start[1]:,}"
        if not ledger.failures
        else f"memory {growth:+,} KiB, slowest read {client.slowest * 1000:.0f} ms",
    )


@contextmanager
def reader(places: Networks, program: Program) -> Iterator[Client]:
    """Bring the values that are read, and give the client that reads them, from the control zone."""
    program.wait_for("^Waiting for:$")
    with places.inside("field"), Connection(502, "192.168.1.100") as writer:
        writer.ask(write(0, unit=2))
    with places.inside("control"):
        connection = Connection(502, "192.168.2.100")
    with connection:
        client = Client(connection)
        client.ask()
        yield client


class Client:
    """Asks one valid request after the other, and knows what the answer is."""

    def __init__(self, connection: Connection) -> None:
        self.asked = 0
        self.wrong = 0
        self.slowest = 0.0
        """Seconds."""
        self._connection = connection
        self._expected = answer(2, SAMPLE_REGISTERS)

    def ask(self) -> None:
        """Read once. Raises OSError where no answer comes."""
        began = time.monotonic()
        reply = self._connection.ask(read(0, len(SAMPLE_REGISTERS), unit=2))
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.asked += 1
        self.wrong += reply != self._expected

    def tell(self, ledger: Ledger) -> None:
        """Note what was not as it must be."""
        ledger.expect(self.wrong == 0, f"{self.wrong:,} of the client's reads were answered wrong or not")
        ledger.expect(self.asked > 100, f"the client read only {count(self.asked, 'time')}")


def _storm(places: Networks, frames: int, seed: int, client: Client, say: Callable[[str], None]) -> Totals:
    """Let the attackers send so many frames while the client asks; return what came of it."""
    command = (
        *(*places.within("field"), sys.executable, "-m", "soak.storm", "192.168.1.100", "502"),
        *("--frames", str(frames), "--seed", str(seed), "--sources", *_SOURCES),
    )
    totals = Totals()
    told = deadline = time.monotonic()
    deadline += _MOST_SECONDS
    with _lines_of(command) as (process, lines):
        while process.poll() is None and time.monotonic() < deadline:
            client.ask()
            time.sleep(PAUSE)
            if time.monotonic() - told > 5 and lines:
                told = time.monotonic()
                say(f"{json.loads(lines[-1])['frames']:,} of {frames:,} frames")
    if lines:
        totals = Totals(**json.loads(lines[-1]))
    return totals


@contextmanager
def _lines_of(command: tuple[str, ...]) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start a command whose lines are collected; it is killed at the end of the block, if it still runs."""
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
