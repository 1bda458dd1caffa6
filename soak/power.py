"""Power cuts while samples are written: every acknowledged sample must be in the history afterwards.

`run` starts this module as a process in a mount namespace of its own, which prints lines of progress and then
the outcome as JSON. The same cuts with flushes ignored are the control: they must lose acknowledged samples,
or the disk does not lose what was not flushed, and the result proves nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import sleep as pause

from tests.integration.networks import WITH_US
from tests.integration.program import Connection, Program, environment
from tests.unit.wire import adu, read

from soak import trail
from soak.kills import CONFIG, WRITERS, Writer, numbered, rows
from soak.machine import SoakError, ending, wait_until
from soak.power_disk import Cache, Disk, remove_stale_disks, require_tools, work_folder
from soak.report import Ledger, Outcome, count

_ROOT = Path(__file__).parents[1]
_WRITE_SECONDS = (0.2, 2.0)
"""The range of seconds from the first acknowledged sample to the cut."""
_SHORT_SECONDS = (0.0, 0.2)
"""The same after the history file was renamed: a rename that is not on the disk yet must not lose samples."""
_DEAD_SECONDS = (0.0, 0.05)
"""The range of seconds that the program outlives its disk: what it can't store it must not acknowledge."""
_RENAME_EVERY = 10
_KEEP_OPEN = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA synchronous = FULL")
# No release reads this version: the program renames such a file, and begins a new one.
database.execute("PRAGMA user_version = 999")
print("done", flush=True)
time.sleep(3600)
"""
_RENAMED = ".damaged-"
_STATUS = adu(1, struct.pack(">BHH", 4, 0, 13))
_RESTORED = 3
_START = "start"
"""The kind of event that a start is."""
_TRAIL_SECONDS = 5.0
"""Time for the service to record its start."""
_OFTEN = 10
"""A line of progress after this many cuts."""


@dataclass(slots=True)
class Tally:
    """The counts of all cuts on one disk."""

    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    """Acknowledged samples that are in no history file after a cut."""
    torn: int = 0
    """Stored samples whose check value does not match."""
    wrong: int = 0
    """Replies that do not match the request."""
    not_restored: int = 0
    """Starts after which a reader did not get the last stored sample."""
    renames: int = 0
    starts: int | None = None
    """Starts that the audit trail had as events before the power was cut; None if there is no trail."""
    lost_starts: int = 0
    """Those of them that it did not have after a later cut."""
    problems: list[str] = field(default_factory=list)
    """What was damaged: the file system, a database, or a file that was renamed."""


def judge(honoured: Tally, ignored: Tally) -> Outcome:
    """Return the outcome of the cuts with flushes honoured, and of the control with flushes ignored."""
    ledger = Ledger()
    for problem in honoured.problems:
        ledger.expect(False, problem)
    ledger.expect(honoured.lost == 0, f"{count(honoured.lost, 'acknowledged sample')} lost")
    ledger.expect(honoured.torn == 0, f"{count(honoured.torn, 'stored sample')} with a wrong check value")
    ledger.expect(honoured.wrong == 0, f"{count(honoured.wrong, 'wrong reply', 'wrong replies')}")
    ledger.expect(honoured.not_restored == 0, f"last values not restored {honoured.not_restored} times")
    if honoured.starts is not None:
        ledger.expect(
            honoured.starts == honoured.cuts,
            f"{honoured.starts} of {count(honoured.cuts, 'start')} in the audit trail",
        )
        ledger.expect(
            honoured.lost_starts == 0, f"{count(honoured.lost_starts, 'start')} lost from the trail"
        )
    ledger.expect(honoured.acknowledged > honoured.cuts, "hardly any sample was acknowledged")
    ledger.expect(ignored.acknowledged > ignored.cuts, "hardly any sample was acknowledged in the control")
    ledger.expect(ignored.lost > 0, "the control lost nothing, so the other cuts prove nothing")
    return ledger.outcome(
        f"power cuts while {WRITERS} clients write, commit_interval = 0 (ext4 on a disk that loses what was "
        "not flushed)",
        f"{count(honoured.cuts, 'cut')}, {honoured.renames} with a renamed history file; "
        f"{count(honoured.acknowledged, 'acknowledged sample')}; control: {count(ignored.cuts, 'cut')}",
        f"{honoured.lost:,} acknowledged samples; {_trail(honoured)}"
        f"{len(honoured.problems)} damaged files or file systems; "
        f"control with flushes ignored: {ignored.lost:,} of {ignored.acknowledged:,}",
    )


def _trail(tally: Tally) -> str:
    if tally.starts is None:
        return ""
    return f"{tally.lost_starts} of {count(tally.starts, 'start')} in the audit trail; "


class Trial:
    """One disk, through all cuts."""

    def __init__(self, folder: Path, cache: Cache, seed: int) -> None:
        self.tally = Tally()
        self._folder = folder
        self._disk = Disk(folder, cache)
        self._honours_flushes = cache is Cache.HONOURS_FLUSHES
        self._database = self._disk.mount / "history.db"
        self._config = folder / "config.toml"
        self._config.write_text(CONFIG.format(path=self._database) + trail.configuration(self._database))
        self._counters = itertools.count(1)
        self._random = random.Random(seed)  # noqa: S311 - moments, not secrets
        self._acknowledged: set[int] = set()
        self._lost: set[int] = set()
        self._starts: set[tuple[int, int]] = set()

    def live_and_cut(self) -> None:
        """Start the program on what the last cut left, check that, and cut the power while clients write."""
        with self._disk.powered():
            rename = self._honours_flushes and self.tally.cuts % _RENAME_EVERY == _RENAME_EVERY - 1
            if rename:
                self._check_files()
            with self._unreadable() if rename else nullcontext(), ending(self._start()) as program:
                port = program.port()
                if not rename:
                    self._check_reader(port, self._check_files())
                writers = [Writer(port, self._counters) for _ in range(WRITERS)]
                for writer in writers:
                    writer.start()
                if wait_until(lambda: any(writer.acknowledged for writer in writers), 10, pause=0.002):
                    pause(self._random.uniform(*(_SHORT_SECONDS if rename else _WRITE_SECONDS)))
                self._note_start()
                self._disk.cut()
                pause(self._random.uniform(*_DEAD_SECONDS))
                program.process.kill()
                program.process.wait()
                for writer in writers:
                    writer.join()
                    self._acknowledged.update(writer.acknowledged)
                    self.tally.wrong += writer.wrong
            self.tally.cuts += 1

    def end(self) -> Tally:
        """Check what the last cut left, stop the program properly, and return the counts."""
        with self._disk.powered():
            program = self._start()
            with ending(program):
                self._check_reader(program.port(), self._check_files())
                if program.stop()[0] != 0:
                    self.tally.problems.append("the program did not stop properly")
        self.tally.problems += self._disk.problems
        self.tally.acknowledged = len(self._acknowledged)
        self.tally.lost = len(self._lost)
        return self.tally

    def _start(self) -> Program:
        arguments = ("run", "--trial", "--config", str(self._config), "--port", "0")
        return Program(arguments, self._folder, prefix=WITH_US)

    def _note_start(self) -> None:
        """Wait until the audit trail has this run's start: from then on, no power cut may lose it."""
        if trail.KEPT:
            wait_until(lambda: not self._recorded_starts() <= self._starts, _TRAIL_SECONDS)
            started = self._recorded_starts() - self._starts
            self.tally.starts = (self.tally.starts or 0) + len(started)
            self._starts |= started

    def _recorded_starts(self) -> set[tuple[int, int]]:
        """Return the starts in the audit trail, each by its row and its time."""
        try:
            events = trail.read(self._database) or ()
            return {(event.id, event.first) for event in events if event.kind == _START}
        except sqlite3.DatabaseError:
            return set()  # It has no table yet, or is damaged, which the integrity check finds.

    @contextmanager
    def _unreadable(self) -> Iterator[None]:
        """Give the history file a version that the program does not read, so that it renames the file.

        Another program keeps the file open meanwhile. So its WAL stays, with samples that are only there.
        """
        self.tally.renames += 1
        command = [*WITH_US, sys.executable, "-c", _KEEP_OPEN, str(self._database)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            try:
                assert other.stdout is not None  # noqa: S101 - shows mypy what PIPE guarantees
                if not other.stdout.readline():
                    raise SoakError("the history file could not be given another version")
                yield
            finally:
                # It must not close the file properly: SQLite would delete a WAL by the file's old name.
                other.kill()

    def _check_files(self) -> bytes:
        """Compare the files with what was acknowledged; return the registers of the newest sample."""
        stored: set[int] = set()
        last = b""
        paths = self._databases()
        for path in paths:
            self._check_integrity(path)
        for path in (path for path in paths if path.name.startswith(self._database.name)):
            for _, _, registers in _rows(path):
                counter = struct.unpack_from(">I", registers)[0]
                self.tally.torn += registers != numbered(counter)
                stored.add(counter)
                last = registers if path == self._database else last
        self._lost |= self._acknowledged - stored
        self._check_starts()
        renamed = sum(_RENAMED in path.name for path in paths)
        if renamed != self.tally.renames:
            self.tally.problems.append(f"{renamed} of {self.tally.renames} renamed files are there")
        return last

    def _check_starts(self) -> None:
        """Count the starts that the audit trail has no more."""
        missing = self._starts - self._recorded_starts()
        self.tally.lost_starts += len(missing)
        self._starts -= missing

    def _check_reader(self, port: int, last: bytes) -> None:
        """Check that a reader gets the newest sample, and that the status block has it as restored."""
        if last:
            with Connection(port) as client:
                shown = client.ask(read(0, 4))[9:]
                state = client.ask(_STATUS)
            self.tally.not_restored += shown != last or state[9:13] != struct.pack(">HH", 1, _RESTORED)

    def _databases(self) -> list[Path]:
        """Return all databases on the disk, with those that were renamed and without their WAL."""
        found = self._disk.mount.glob("*.db*")
        return sorted(path for path in found if not path.name.endswith(("-wal", "-shm")))

    def _check_integrity(self, path: Path) -> None:
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
                verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            verdict = str(error)
        if verdict != "ok":
            self.tally.problems.append(f"{path.name}: {verdict}")


def _rows(path: Path) -> list[tuple[int, int, bytes]]:
    """Return the samples of a file; none if it has no tables yet or is damaged, so that none can be read."""
    try:
        return rows(path)
    except sqlite3.DatabaseError:
        return []  # What was acknowledged counts as lost; the integrity check names the damage.


def cut(cuts: int, cache: Cache, seed: int, log: Callable[[str], None]) -> Tally:
    """Cut the power `cuts` times. The mounts are this process's: it has to have a namespace of its own."""
    with work_folder() as folder:
        trial = Trial(folder, cache, seed)
        for number in range(1, cuts + 1):
            trial.live_and_cut()
            if number % _OFTEN == 0:
                log(f"{number} of {cuts} power cuts")
        return trial.end()


def run(cuts: int, control_cuts: int, seed: int, log: Callable[[str], None]) -> Outcome:
    """Cut the power `cuts` times with flushes honoured, and `control_cuts` times with flushes ignored."""
    require_tools()
    remove_stale_disks()
    own_namespace = (*WITH_US, "unshare", "--mount", "--propagation", "slave")
    command = [*own_namespace, sys.executable, "-m", "soak.power", *map(str, (cuts, control_cuts, seed))]
    outcome: Outcome | None = None
    with subprocess.Popen(
        command, cwd=_ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - shows mypy what PIPE guarantees
        for line in process.stdout:
            if line.startswith("{"):
                outcome = Outcome(**json.loads(line))
            else:
                log(line.rstrip("\n"))
    if outcome is None:
        raise SoakError(f"the power cuts ended early, with exit code {process.returncode}")
    return Outcome(outcome.tried, outcome.often, outcome.lost, tuple(outcome.failures))


def main() -> None:
    """Print progress as lines, and the outcome as the last one."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("cuts", "control_cuts", "seed"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()

    def log(text: str) -> None:
        print(text, flush=True)

    honoured = cut(options.cuts, Cache.HONOURS_FLUSHES, options.seed, log)
    log("control: flushes ignored")
    ignored = cut(options.control_cuts, Cache.IGNORES_FLUSHES, options.seed, log)
    print(json.dumps(asdict(judge(honoured, ignored))), flush=True)


if __name__ == "__main__":
    main()
