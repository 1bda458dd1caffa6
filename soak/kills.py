"""A hundred kills under write load: no acknowledged sample may be missing afterwards."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import sleep as pause

from tests.integration.networks import WITH_US
from tests.integration.program import Connection, Program
from tests.integration.program import run as run_command
from tests.unit.wire import adu, read

from soak.machine import ending, wait_until, work_folder
from soak.report import Ledger, Outcome, count

WRITERS = 4
_LIFE = (0.02, 0.3)
"""Seconds from the first acknowledged sample to the kill."""
_EARLY = 5
"""After so many kills, one more while the concentrator starts."""
_START = (0.0, 0.25)
"""Seconds from a start to a kill in the midst of it."""
_STATUS = adu(1, struct.pack(">BHH", 4, 0, 13))
_RESTORED = 3
_NOT_STORED = b"\x90\x04"
"""Exception 04 to FC16: the sample could not be brought to the disk."""

_CONFIG = """
[history]
path = "{path}"
commit_interval = 0
max_samples_per_second = 0
[[meters]]
name = "counting"
unit_id = 1
[[meters.measurements]]
name = "counter"
address = 0
type = "uint32"
[[meters.measurements]]
name = "check"
address = 2
type = "uint32"
"""
CONFIG = _CONFIG


def numbered(counter: int) -> bytes:
    """Return the registers of a sample that carries a counter, and what shows that it is whole."""
    return struct.pack(">II", counter, counter ^ 0xFFFF_FFFF)


def request(counter: int) -> bytes:
    """Return the FC16 request that writes the sample of a counter."""
    return adu(1, struct.pack(">BHHB", 16, 0, 4, 8) + numbered(counter), counter & 0xFFFF)


def accepted(counter: int) -> bytes:
    """Return the reply that acknowledges it."""
    return adu(1, struct.pack(">BHH", 16, 0, 4), counter & 0xFFFF)


class Writer(threading.Thread):
    """Writes one sample after the other, until its connection ends or it is told to stop."""

    def __init__(self, port: int, counters: Iterator[int], pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[int] = []
        self.sent = 0
        self.refused = 0
        """Writes that got exception 04: the sample is not acknowledged."""
        self.wrong = 0
        """Replies that fit nothing that was asked."""
        self.halted = threading.Event()
        self._connection = Connection(port)
        self._counters = counters
        self._pause = pause

    def run(self) -> None:
        """Write."""
        with self._connection as connection:
            while not self.halted.wait(self._pause) if self._pause else not self.halted.is_set():
                counter = next(self._counters)
                try:
                    self.sent += 1
                    reply = connection.ask(request(counter))
                except OSError:
                    return
                if reply == accepted(counter):
                    self.acknowledged.append(counter)
                elif len(reply) == 9 and reply[7:] == _NOT_STORED:
                    self.refused += 1
                elif len(reply) < 9:
                    return
                else:
                    self.wrong += 1

    def halt(self) -> None:
        """Stop after the sample that is under way."""
        self.halted.set()
        self.join()


def rows(path: Path, after: int = 0) -> list[tuple[int, int, bytes]]:
    """Return id, running time and registers of the samples behind an id, in their order."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute(
            "SELECT id, running, registers FROM samples WHERE id > ? ORDER BY id", (after,)
        ).fetchall()


def whole(registers: bytes) -> int | None:
    """Return the counter of a sample; None where the sample is not whole."""
    counter: int = struct.unpack_from(">I", registers)[0]
    return counter if registers == numbered(counter) else None


class Run:
    """One database through all its kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.database = folder / "history.db"
        self.acknowledged: set[int] = set()
        self.missing: set[int] = set()
        self.stored: set[int] = set()
        self.torn = 0
        self.not_restored = 0
        self.wrong = 0
        self.refused = 0
        self._last: bytes = b""
        self._seen = 0
        self._folder = folder
        self._counters = itertools.count(1)
        self._dice = random.Random(seed)  # noqa: S311 - moments, not secrets
        self._config = folder / "config.toml"
        self._config.write_text(_CONFIG.format(path=self.database))

    def live_and_die(self) -> None:
        """Start the concentrator on what the last one left, look at it, write, and kill it under way."""
        program = self._start()
        with ending(program):
            port = program.port()
            self._check(port)
            writers = [Writer(port, self._counters) for _ in range(WRITERS)]
            for writer in writers:
                writer.start()
            if wait_until(lambda: any(writer.acknowledged for writer in writers), 10, pause=0.002):
                pause(self._dice.uniform(*_LIFE))
            program.process.kill()
            program.process.wait()
            for writer in writers:
                writer.join()
                self.acknowledged.update(writer.acknowledged)
                self.wrong += writer.wrong
                self.refused += writer.refused

    def die_early(self) -> None:
        """Kill the concentrator while it starts: opening the database must not harm it either."""
        with ending(self._start()) as program:
            pause(self._dice.uniform(*_START))
            program.process.kill()

    def end(self, ledger: Ledger) -> None:
        """Look once more, and end in peace; the program's own command has to find them all, too."""
        program = self._start()
        with ending(program):
            self._check(program.port())
            ledger.expect(program.stop()[0] == 0, "a clean end")
        told = run_command("history", "--path", str(self.database), "--format", "json", timeout=120)
        found = {int(json.loads(line)["values"]["counter"]) for line in told.stdout.splitlines()}
        missing = len(self.acknowledged - found)
        ledger.expect(
            missing == 0, f"{missing:,} acknowledged samples in `smart-meter history`: {told.stderr[-200:]}"
        )
        with closing(sqlite3.connect(self.database)) as database:
            verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
        ledger.expect(verdict == "ok", f"the database's integrity: {verdict}")

    def _start(self) -> Program:
        arguments = ("run", "--trial", "--config", str(self._config), "--port", "0")
        return Program(arguments, self._folder, prefix=WITH_US)

    def _check(self, port: int) -> None:
        """Hold the database, and what the restarted program shows, against what was acknowledged."""
        if self.database.exists():
            for number, _, registers in rows(self.database, self._seen):
                self._seen, self._last = number, registers
                counter = whole(registers)
                if counter is None:
                    self.torn += 1
                else:
                    self.stored.add(counter)
        self.missing |= self.acknowledged - self.stored
        if self._last:
            with Connection(port) as client:
                shown = client.ask(read(0, 4))[9:]
                state = client.ask(_STATUS)
            self.not_restored += shown != self._last or state[9:13] != struct.pack(">HH", 1, _RESTORED)


def run(kills: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Kill so many times; the seed decides the moments."""
    ledger = Ledger()
    with work_folder("kills") as folder:
        course = Run(folder, seed)
        for number in range(1, kills + 1):
            course.live_and_die()
            if number % _EARLY == 0:
                course.die_early()
            if number % 10 == 0:
                say(f"{number} of {kills} kills, {len(course.acknowledged):,} samples acknowledged")
        course.end(ledger)
        set_aside = [path.name for path in folder.glob("history.db.damaged-*")]
    ledger.expect(not course.missing, f"{len(course.missing):,} acknowledged samples")
    ledger.expect(course.torn == 0, f"{course.torn:,} samples are not whole")
    ledger.expect(course.wrong == 0, f"{course.wrong:,} replies fit no request")
    ledger.expect(course.refused == 0, f"{course.refused:,} writes were refused")
    ledger.expect(course.not_restored == 0, f"{course.not_restored} times the last values were not back")
    ledger.expect(not set_aside, f"a database was set aside: {set_aside}")
    ledger.expect(len(course.acknowledged) > kills, "hardly any sample was acknowledged")
    beyond = len(course.stored - course.acknowledged)
    early = count(kills // _EARLY, "more while it starts", "more while it starts")
    return ledger.outcome(
        f"SIGKILL while {WRITERS} clients write, commit_interval = 0",
        f"{count(kills, 'kill')}, {early}; {count(len(course.acknowledged), 'acknowledged sample')}",
        f"{len(course.missing):,} acknowledged samples; {beyond:,} more were stored whose acknowledgement "
        f"was under way; {course.not_restored} times the last values were not back",
    )
