"""Kills the program under write load: no acknowledged sample may be missing afterwards."""

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
_WRITE_SECONDS = (0.02, 0.3)
"""The range of seconds from the first acknowledged sample to the kill."""
_EARLY = 5
"""After this many kills, there is one more during start-up."""
_START_SECONDS = (0.0, 0.25)
"""The range of seconds from a start to a kill during start-up."""
_STORE_SECONDS = 10.0
"""How long a start may take to store what it finds in the runtime directory."""
_STATUS = adu(1, struct.pack(">BHH", 4, 0, 13))
_RESTORED = 3
_NOT_STORED = b"\x90\x04"
"""Exception 04 to FC16: the sample could not be stored."""

CONFIG = """
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


def numbered(counter: int) -> bytes:
    """Return the registers of a sample: a counter, and a check value to detect a partial sample."""
    return struct.pack(">II", counter, counter ^ 0xFFFF_FFFF)


def request(counter: int) -> bytes:
    """Return the FC16 request that writes this counter's sample."""
    return adu(1, struct.pack(">BHHB", 16, 0, 4, 8) + numbered(counter), counter & 0xFFFF)


def accepted(counter: int) -> bytes:
    """Return the reply that acknowledges this counter's sample."""
    return adu(1, struct.pack(">BHH", 16, 0, 4), counter & 0xFFFF)


class Writer(threading.Thread):
    """Writes one sample after another, until its connection ends or it is stopped."""

    def __init__(self, port: int, counters: Iterator[int], pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[int] = []
        self.sent = 0
        self.refused = 0
        """Writes that got exception 04, which is not an acknowledgement."""
        self.wrong = 0
        """Replies that do not match the request."""
        self.stopping = threading.Event()
        self._connection = Connection(port)
        self._counters = counters
        self._pause = pause

    def run(self) -> None:
        """Write until stopped."""
        with self._connection as connection:
            while not self.stopping.wait(self._pause) if self._pause else not self.stopping.is_set():
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

    def stop(self) -> None:
        """Stop after the current sample."""
        self.stopping.set()
        self.join()


def rows(path: Path, after: int = 0) -> list[tuple[int, int, bytes]]:
    """Return id, running time and registers of the samples after an id, in order."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute(
            "SELECT id, running, registers FROM samples WHERE id > ? ORDER BY id", (after,)
        ).fetchall()


def decoded(registers: bytes) -> int | None:
    """Return the counter of a sample; None if its check value does not match."""
    counter: int = struct.unpack_from(">I", registers)[0]
    return counter if registers == numbered(counter) else None


class Trial:
    """One database, through all kills."""

    def __init__(self, folder: Path, seed: int, interval: float = 0) -> None:
        """interval: commit_interval; above 0, what is not committed has to be in the runtime directory."""
        self.database = folder / "history.db"
        self.acknowledged: set[int] = set()
        self.missing: set[int] = set()
        self.stored: set[int] = set()
        self.repeated = 0
        """Samples that were stored more than once."""
        self.torn = 0
        self.not_restored = 0
        self.wrong = 0
        self.refused = 0
        self._last: bytes = b""
        self._seen = 0
        self._folder = folder
        self._counters = itertools.count(1)
        self._random = random.Random(seed)  # noqa: S311 - moments, not secrets
        self._config = folder / "config.toml"
        self._runtime = folder / "run"
        self._runtime.mkdir()
        settings = CONFIG.format(path=self.database)
        self._config.write_text(settings.replace("commit_interval = 0", f"commit_interval = {interval:g}"))

    def write_and_kill(self) -> None:
        """Start the concentrator on the existing database, check it, write samples, and kill it meanwhile."""
        program = self._start()
        with ending(program):
            port = program.port()
            self._check(port)
            writers = [Writer(port, self._counters) for _ in range(WRITERS)]
            for writer in writers:
                writer.start()
            if wait_until(lambda: any(writer.acknowledged for writer in writers), 10, pause=0.002):
                pause(self._random.uniform(*_WRITE_SECONDS))
            program.process.kill()
            program.process.wait()
            for writer in writers:
                writer.join()
                self.acknowledged.update(writer.acknowledged)
                self.wrong += writer.wrong
                self.refused += writer.refused

    def kill_early(self) -> None:
        """Kill the concentrator during start-up: opening the database must not damage it either."""
        with ending(self._start()) as program:
            pause(self._random.uniform(*_START_SECONDS))
            program.process.kill()

    def finish(self, ledger: Ledger) -> None:
        """Check a last time, stop the program, and check that `smart-meter history` shows all samples."""
        program = self._start()
        with ending(program):
            self._check(program.port())
            ledger.expect(program.stop()[0] == 0, "the program did not exit cleanly")
        printed = run_command("history", "--path", str(self.database), "--format", "json", timeout=120)
        found = {int(json.loads(line)["values"]["counter"]) for line in printed.stdout.splitlines()}
        missing = len(self.acknowledged - found)
        ledger.expect(
            missing == 0,
            f"{missing:,} acknowledged samples are missing in `smart-meter history`: {printed.stderr[-200:]}",
        )
        with closing(sqlite3.connect(self.database)) as database:
            result = database.execute("PRAGMA integrity_check").fetchone()[0]
        ledger.expect(result == "ok", f"the integrity check of the database failed: {result}")

    def _start(self) -> Program:
        arguments = ("run", "--trial", "--config", str(self._config), "--port", "0")
        extra = {"RUNTIME_DIRECTORY": str(self._runtime)}
        return Program(arguments, self._folder, prefix=WITH_US, extra=extra)

    def _check(self, port: int) -> None:
        """Compare the database and the values of the restarted program with the acknowledged samples."""
        with Connection(port) as client:
            shown = client.ask(read(0, 4))[9:]
            state = client.ask(_STATUS)
        # Before the first acknowledged sample, the program may still be creating the tables. Samples that it
        # finds in the runtime directory it stores once it serves.
        if self.acknowledged:
            wait_until(lambda: self._has_rows_up_to(shown), _STORE_SECONDS)
        self.missing |= self.acknowledged - self.stored
        if self._last:
            self.not_restored += shown != self._last or state[9:13] != struct.pack(">HH", 1, _RESTORED)

    def _has_rows_up_to(self, shown: bytes) -> bool:
        """Read new rows; return whether all acknowledged samples are there, the one shown last."""
        for number, _, registers in rows(self.database, self._seen):
            self._seen, self._last = number, registers
            counter = decoded(registers)
            if counter is None:
                self.torn += 1
            else:
                self.repeated += counter in self.stored
                self.stored.add(counter)
        return self.acknowledged <= self.stored and shown == self._last


def run(kills: int, seed: int, log: Callable[[str], None], interval: float = 0) -> Outcome:
    """Kill the program `kills` times, at moments that the seed determines. interval: commit_interval."""
    ledger = Ledger()
    with work_folder("kills") as folder:
        trial = Trial(folder, seed, interval)
        for number in range(1, kills + 1):
            trial.write_and_kill()
            if number % _EARLY == 0:
                trial.kill_early()
            if number % 10 == 0:
                log(f"{number} of {kills} kills, {len(trial.acknowledged):,} samples acknowledged")
        trial.finish(ledger)
        quarantined = [path.name for path in folder.glob("history.db.damaged-*")]
    ledger.expect(not trial.missing, f"{len(trial.missing):,} acknowledged samples are missing")
    ledger.expect(trial.repeated == 0, f"{trial.repeated:,} samples were stored more than once")
    ledger.expect(trial.torn == 0, f"{trial.torn:,} samples are incomplete")
    ledger.expect(trial.wrong == 0, f"{trial.wrong:,} replies do not match their request")
    ledger.expect(trial.refused == 0, f"{trial.refused:,} writes were refused")
    ledger.expect(trial.not_restored == 0, f"{trial.not_restored} times the last values were not restored")
    ledger.expect(not quarantined, f"a database was quarantined: {quarantined}")
    ledger.expect(len(trial.acknowledged) > kills, "hardly any samples were acknowledged")
    unacknowledged = len(trial.stored - trial.acknowledged)
    return ledger.outcome(
        f"SIGKILL while {WRITERS} clients write, commit_interval = {interval:g}",
        f"{count(kills, 'kill')}, {kills // _EARLY:,} more during start-up; "
        f"{count(len(trial.acknowledged), 'acknowledged sample')}",
        f"{len(trial.missing):,} acknowledged samples; {unacknowledged:,} more were stored but not yet "
        f"acknowledged; the last values were not restored {trial.not_restored} times",
    )
