"""A wall clock that jumps by ten years and back: values stay fresh, and no row is lost or out of order.

The machine's own clock is left alone: libfaketime moves what the program under test sees of it.
"""

from __future__ import annotations

import itertools
import json
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.integration.networks import WITH_US
from tests.integration.program import Connection, Program
from tests.integration.program import run as run_command
from tests.unit.wire import adu

from soak.kills import CONFIG, Writer, rows, whole
from soak.machine import SoakError, ending, wait_until, work_folder
from soak.report import Ledger, Outcome, count

YEARS = 10
STEPS = (f"+{YEARS}y", "+0", f"-{YEARS}y", f"+{YEARS}y", f"-{YEARS}y", "+0")
"""Each is the distance from the machine's clock, in libfaketime's words; a year has 365 days there."""
_HOLD = 1.0
_PAUSE = 0.01
_FRESH = 1
_STATUS = adu(1, struct.pack(">BHH", 4, 0, 13))
_LIBRARY = "*/faketime/libfaketime.so.1"


class Clock:
    """The clock that programs are shown which are started with `variables`."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib").glob(_LIBRARY))
        if not found:
            raise SoakError("libfaketime is not there; `tools/setup virtual-pi` installs it")
        self._file = folder / "clock"
        self._years = 0
        self.set("+0")
        self.variables = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            # Only the wall clock jumps on a Pi without a battery.
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, distance: str) -> None:
        """Let it jump to a distance from the machine's own."""
        # Replaced at once: a reader must not find half of it.
        new = self._file.with_suffix(".new")
        new.write_text(distance + "\n")
        new.rename(self._file)
        self._years = int(distance.rstrip("y")) if distance.endswith("y") else 0

    def day(self) -> str:
        """Return the date that it shows."""
        return datetime.fromtimestamp(time.time() + self._years * 365 * 86400, UTC).strftime("%Y-%m-%d")


def run(rounds: int, say: Callable[[str], None]) -> Outcome:
    """Go through the steps so many times, with a restart while the clock is wrong in each round."""
    ledger = Ledger()
    counters = itertools.count(1)
    acknowledged: list[int] = []
    looked = stale = jumps = 0
    with work_folder("clock") as folder:
        database = folder / "history.db"
        config = folder / "config.toml"
        settings = CONFIG.format(path=database).replace("commit_interval = 0", "commit_interval = 0.1")
        config.write_text(
            settings.replace("unit_id = 1\n", "unit_id = 1\nstale_after = 2\n")
            + "\n[journal]\nlines_per_second = 1000\n"
        )
        clock = Clock(folder)
        arguments = ("run", "--trial", "--config", str(config), "--port", "0")
        for number in range(1, rounds + 1):
            # Two halves: the service starts with a clock that is right, and with one that is wrong.
            for steps in (STEPS[:3], STEPS[3:]):
                program = Program(arguments, folder, prefix=WITH_US, extra=clock.variables)
                with ending(program):
                    writer = Writer(program.port(), counters, _PAUSE)
                    writer.start()
                    wait_until(lambda: bool(writer.acknowledged), 10)  # noqa: B023 - called in this turn
                    for step in steps:
                        clock.set(step)
                        jumps += 1
                        seen = _holds(program, ledger)
                        looked, stale = looked + seen[0], stale + seen[1]
                        program.wait_for(rf"^\[RX FROM \w+\] {clock.day()}T")
                    writer.halt()
                    acknowledged += writer.acknowledged
                    ledger.expect(writer.wrong + writer.refused == 0, "a write was not accepted")
                    ledger.expect(program.stop()[0] == 0, "a clean end")
            say(f"round {number} of {rounds}: {len(acknowledged):,} samples")
        missing = _check(database, acknowledged, ledger)
    ledger.expect(stale == 0, f"{stale} of {looked} times the value was not fresh")
    return ledger.outcome(
        f"wall clock +{YEARS} and -{YEARS} years, with restarts while it is wrong (libfaketime)",
        f"{count(jumps, 'jump')}; {count(len(acknowledged), 'acknowledged sample')}; "
        f"{count(looked, 'look', 'looks')} at the status block",
        f"{missing} acknowledged samples; {stale} times not fresh"
        + ("" if ledger.failures else "; rows in order"),
    )


def _holds(program: Program, ledger: Ledger) -> tuple[int, int]:
    """Look at the status block for a while; return how often, and how often the value was not fresh."""
    looked = stale = 0
    ends = time.monotonic() + _HOLD
    with Connection(program.port()) as client:
        while time.monotonic() < ends:
            reply = client.ask(_STATUS)
            ledger.expect(len(reply) == 35, f"the status block is {reply.hex()}")
            if len(reply) == 35:
                _, state, age = struct.unpack_from(">HHI", reply, 9)
                stale += state != _FRESH or age > 1
            looked += 1
            time.sleep(0.02)
    return looked, stale


def _check(database: Path, acknowledged: list[int], ledger: Ledger) -> int:
    """Hold the rows against what was acknowledged, by the database itself and by the program's command.

    Return how many acknowledged samples are missing.
    """
    found = rows(database)
    counters = [whole(registers) for _, _, registers in found]
    missing = len(set(acknowledged) - set(counters))
    ledger.expect(missing == 0, f"{missing:,} acknowledged samples")
    ledger.expect(counters == sorted(counters, key=lambda counter: counter or 0), "the rows' order")
    running = [moment for _, moment, _ in found]
    ledger.expect(running == sorted(running), "the running time went back")
    told = run_command("history", "--path", str(database), "--since", "1h", "--format", "json", timeout=60)
    shown = [json.loads(line)["values"]["counter"] for line in told.stdout.splitlines()]
    ledger.expect(
        shown == counters, f"`smart-meter history --since 1h` shows {len(shown):,} of {len(counters):,} rows"
    )
    return missing
