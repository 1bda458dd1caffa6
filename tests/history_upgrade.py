"""Upgrade a large history of the release before, roll back, and upgrade again; count what was lost.

    .venv/bin/python -m tests.history_upgrade --mib 1024

Both releases run as they are: the one before as the wheel of the last commit whose history had version 1
only. It makes the file, SQL fills it, and in each step clients write samples and read registers while the
service changes the file. "Serves" and "extended" count from the start of the process.
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.integration.program import Connection, Program
from tests.unit.history.version_1 import FirstRelease
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, wire, write

REPOSITORY = Path(__file__).parents[1]
_SCHEMA = "src/smart_meter/history/schema.py"
_CHANGE = "ADD COLUMN client"
"""What the commit after the release before added to the schema."""
_CONFIG = """
[history]
path = "{path}"
max_size_mib = 1048576
max_age_days = 36500
"""
_FILL = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
INSERT INTO samples (meter, running, measured, flags, registers)
SELECT 1, 2000000 * n + (SELECT running FROM samples ORDER BY id DESC LIMIT 1), 1600000000 + 2 * n, 0,
zeroblob(16) FROM number
"""
_ROWS = 200_000
_GENERATION = adu(1, wire("04 0017 0002"))
_ACCEPTED = wire("0001 0000 0006 01 10 0000 0008")
_SAMPLES = 40
_PAUSE = 0.05
_PATIENCE = 60.0


class Step(NamedTuple):
    """One release's run on the file."""

    name: str
    serves: float
    """Seconds until the first answer."""
    extended: float | None
    """Seconds until the file had the new tables; None in the release before."""
    reads: int
    slowest: float
    """Seconds, of the slowest read."""
    restored: bool
    """Whether the values of before were served."""
    written: int
    """Samples that were acknowledged."""


class Result(NamedTuple):
    """What the steps left."""

    mib: float
    filled: int
    steps: tuple[Step, ...]
    rows: int
    lost: int
    quarantined: int


class NoRepositoryError(Exception):
    """The release before can't be built: there is no repository, or its history is cut off."""


def build(folder: Path) -> Path:
    """Build the wheel of the release before, and return the folder that it is unpacked to."""
    changes = _git("log", "--format=%H", "--reverse", f"-S{_CHANGE}", "--", _SCHEMA).split()
    if not changes:
        raise NoRepositoryError(f"no commit added {_CHANGE!r} to {_SCHEMA}")
    source, unpacked = folder / "source", folder / "release"
    source.mkdir()
    archive = folder / "source.tar"
    _git("archive", "--output", str(archive), f"{changes[0]}^")
    subprocess.run(["tar", "--extract", "--file", archive, "--directory", source], check=True)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [wheel] = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(unpacked)
    return unpacked


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NoRepositoryError(done.stderr.strip())
    return done.stdout


def fill(path: Path, mib: float) -> None:
    """Fill a file of the release before with rows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        while path.stat().st_size < mib * 2**20:
            connection.execute(_FILL, (min(_ROWS, int(mib * 20_000)),))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    FirstRelease(path).keep_last()


def count(path: Path) -> int:
    """Return the number of rows."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM samples").fetchone()[0])


class _Reader(threading.Thread):
    """Reads the registers as fast as they come, and keeps the slowest reply's time."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.reads = 0
        self.slowest = 0.0
        self.stopping = threading.Event()
        self._port = port

    def run(self) -> None:
        """Read until stopped."""
        with Connection(self._port) as client:
            while not self.stopping.is_set():
                began = time.perf_counter()
                assert len(client.ask(read(0, 8))) >= 9
                self.slowest = max(self.slowest, time.perf_counter() - began)
                self.reads += 1


class Trial:
    """A folder with a history, and both releases."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "history.db"
        self._folder = folder
        self._before = build(folder)
        self.last: tuple[int, ...] = ()
        """The registers of the last row."""
        self._number = 0
        self._config = folder / "config.toml"
        self._config.write_text(_CONFIG.format(path=self.path))
        self._runtime = folder / "run"
        self._runtime.mkdir()

    def run(self, name: str, *, before: bool = False) -> Step:
        """Start a release on the file, write samples, and stop it. before: the release before."""
        extra = {"RUNTIME_DIRECTORY": str(self._runtime)}
        if before:
            extra["PYTHONPATH"] = str(self._before)
        arguments = ("run", "--trial", "--port", "0", "--config", str(self._config))
        began = time.monotonic()
        program = Program(arguments, self._folder, extra=extra)
        try:
            port = program.port()
            with Connection(port) as client:
                restored = client.ask(read(0, 8)) == answer(1, self.last)
                serves = time.monotonic() - began
                reader = _Reader(port)
                reader.start()
                extended = None if before else self._wait_until_extended(client) - began
                for _ in range(_SAMPLES):
                    self._number += 1
                    self.last = (self._number, *SAMPLE_REGISTERS[1:])
                    assert client.ask(write(0, self.last)) == _ACCEPTED
                    time.sleep(_PAUSE)
            reader.stopping.set()
            reader.join()
            code, _ = program.stop()
            assert code == 0, program.err
        finally:
            program.kill()
        return Step(name, serves, extended, reader.reads, reader.slowest, restored, _SAMPLES)

    def _wait_until_extended(self, client: Connection) -> float:
        deadline = time.monotonic() + _PATIENCE
        while client.ask(_GENERATION)[9:] == bytes(4):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return time.monotonic()


def trial(folder: Path, mib: float, log: Callable[[str], None] = lambda _: None) -> Result:
    """Return what was found in a file of some MiB. Raises NoRepositoryError."""
    one = Trial(folder)
    one.run("new file", before=True)
    log("filling the file")
    fill(one.path, mib)
    one.last = (0,) * 8
    filled, size = count(one.path), one.path.stat().st_size / 2**20
    steps = []
    for name, before in (("upgrade", False), ("rollback", True), ("upgrade", False)):
        log(name)
        steps.append(one.run(name, before=before))
    rows = count(one.path)
    with closing(sqlite3.connect(one.path)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone()[0] == "ok"
    lost = filled + sum(step.written for step in steps) - rows
    return Result(size, filled, tuple(steps), rows, lost, len(list(folder.glob("*damaged*"))))


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description="Upgrade a large history, roll back, and upgrade again.")
    parser.add_argument("--mib", type=float, default=1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = trial(Path(name), arguments.mib, lambda text: print(text, file=sys.stderr))
    print(f"{result.filled:,} rows of the release before, {result.mib:.0f} MiB\n")
    print("| step | serves after | extended after | reads | slowest read | last values served | samples |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for step in result.steps:
        extended = "" if step.extended is None else f"{step.extended:.2f} s"
        print(
            f"| {step.name} | {step.serves:.2f} s | {extended} | {step.reads:,} |"
            f" {1e3 * step.slowest:.1f} ms | {'yes' if step.restored else 'no'} | {step.written} |"
        )
    print(f"\n{result.rows:,} rows; {result.lost} lost, {result.quarantined} files quarantined")
    sys.exit(1 if result.lost or result.quarantined else 0)


if __name__ == "__main__":
    main()
