"""The wall clock jumps by ten years and back: values stay fresh, and no row is lost or out of order.

The machine's own clock does not change: libfaketime changes only what the program under test sees.
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

from soak.kills import CONFIG, Writer, decoded, rows
from soak.machine import SoakError, ending, wait_until, work_folder
from soak.report import Ledger, Outcome, count

YEARS = 10
STEPS = (f"+{YEARS}y", "+0", f"-{YEARS}y", f"+{YEARS}y", f"-{YEARS}y", "+0")
"""Offsets from the machine's clock in libfaketime's syntax, in which a year has 365 days."""
_HOLD = 1.0
_PAUSE = 0.01
_FRESH = 1
_STATUS = adu(1, struct.pack(">BHH", 4, 0, 13))
_LIBRARY = "*/faketime/libfaketime.so.1"


class Clock:
    """The wall clock of programs that are started with the environment variables `variables`."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib").glob(_LIBRARY))
        if not found:
            raise SoakError("libfaketime is not installed; run `tools/setup virtual-pi`")
        self._file = folder / "clock"
        self._years = 0
        self.set("+0")
        self.variables = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            # On a Pi without a battery-backed clock, only the wall clock jumps.
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """Make the clock jump to an offset from the machine's own."""
        # Replaced atomically, so that no program reads a part of it.
        new = self._file.with_suffix(".new")
        new.write_text(offset + "\n")
        new.rename(self._file)
        self._years = int(offset.rstrip("y")) if offset.endswith("y") else 0

    def day(self) -> str:
        """Return the date of this clock, as YYYY-MM-DD."""
        return datetime.fromtimestamp(time.time() + self._years * 365 * 86400, UTC).strftime("%Y-%m-%d")


def run(rounds: int, log: Callable[[str], None]) -> Outcome:
    """Make all jumps in each of `rounds` rounds, with a restart per round while the clock is wrong."""
    ledger = Ledger()
    counters = itertools.count(1)
    acknowledged: list[int] = []
    reads = stale = jumps = 0
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
            # In the first half the service starts with a correct clock, in the second with a wrong one.
            for steps in (STEPS[:3], STEPS[3:]):
                program = Program(arguments, folder, prefix=WITH_US, extra=clock.variables)
                with ending(program):
                    writer = Writer(program.port(), counters, _PAUSE)
                    writer.start()
                    wait_until(lambda: bool(writer.acknowledged), 10)  # noqa: B023 - called in this iteration
                    for step in steps:
                        clock.set(step)
                        jumps += 1
                        read, read_stale = _read_status(program, ledger)
                        reads, stale = reads + read, stale + read_stale
                        program.wait_for(rf"^\[RX FROM \w+\] {clock.day()}T")
                    writer.stop()
                    acknowledged += writer.acknowledged
                    ledger.expect(writer.wrong + writer.refused == 0, "a write was not accepted")
                    ledger.expect(program.stop()[0] == 0, "the program did not exit cleanly")
            log(f"round {number} of {rounds}: {len(acknowledged):,} samples")
        missing = _check(database, acknowledged, ledger)
    ledger.expect(stale == 0, f"the value was not fresh in {stale} of {reads} reads")
    return ledger.outcome(
        f"wall clock jumps of +{YEARS} and -{YEARS} years, with restarts while it is wrong (libfaketime)",
        f"{count(jumps, 'jump')}; {count(len(acknowledged), 'acknowledged sample')}; "
        f"{count(reads, 'read')} of the status block",
        f"{missing} acknowledged samples; {stale} reads not fresh"
        + ("" if ledger.failures else "; rows in order"),
    )


def _read_status(program: Program, ledger: Ledger) -> tuple[int, int]:
    """Read the status block for a second; return the number of reads, and in how many it was not fresh."""
    reads = stale = 0
    ends = time.monotonic() + _HOLD
    with Connection(program.port()) as client:
        while time.monotonic() < ends:
            reply = client.ask(_STATUS)
            ledger.expect(len(reply) == 35, f"the status block is {reply.hex()}")
            if len(reply) == 35:
                _, state, age = struct.unpack_from(">HHI", reply, 9)
                stale += state != _FRESH or age > 1
            reads += 1
            time.sleep(0.02)
    return reads, stale


def _check(database: Path, acknowledged: list[int], ledger: Ledger) -> int:
    """Compare the rows, in the database and from `smart-meter history`, with the acknowledged samples.

    Return how many acknowledged samples are missing.
    """
    found = rows(database)
    counters = [decoded(registers) for _, _, registers in found]
    missing = len(set(acknowledged) - set(counters))
    ledger.expect(missing == 0, f"{missing:,} acknowledged samples are missing")
    in_order = sorted(counters, key=lambda counter: counter or 0)
    ledger.expect(counters == in_order, "the rows are out of order")
    running = [moment for _, moment, _ in found]
    ledger.expect(running == sorted(running), "the running time went back")
    printed = run_command("history", "--path", str(database), "--since", "1h", "--format", "json", timeout=60)
    shown = [json.loads(line)["values"]["counter"] for line in printed.stdout.splitlines()]
    ledger.expect(
        shown == counters, f"`smart-meter history --since 1h` shows {len(shown):,} of {len(counters):,} rows"
    )
    return missing
