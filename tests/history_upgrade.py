"""Upgrade a large history of the first release, roll back, and upgrade again; count rows and seconds.

    .venv/bin/python -m tests.history_upgrade --mib 1024

The file is filled by SQL, as the first release would have filled it. "Start" is what clients wait for: the
file is opened and each meter's last row is read. "Extended" is when the writer's thread has changed the file.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from smart_meter.config import Config, HistoryConfig
from smart_meter.history import History
from tests.unit.history.version_1 import FirstRelease

PV = Config().meters[0]
_FILL = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
INSERT INTO samples (meter, running, measured, flags, registers)
SELECT 1, 2000000 * n + (SELECT max(running) FROM samples), 1600000000 + 2 * n, 0, zeroblob(16) FROM number
"""
_ROWS = 200_000


def fill(path: Path, mib: float) -> int:
    """Make a file of the first release; return its rows."""
    FirstRelease(path).create()
    FirstRelease(path).record(PV, [bytes(16)])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        while path.stat().st_size < mib * 2**20:
            connection.execute(_FILL, (_ROWS,))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        FirstRelease(path).keep_last()
        return count(path)


def count(path: Path) -> int:
    """Return the number of rows."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM samples").fetchone()[0])


def upgrade(path: Path) -> str:
    """Start the present release on the file, and store one sample."""
    config = HistoryConfig(path=str(path), max_size_mib=1048576, max_age_days=36500, commit_interval=0)
    began = time.monotonic()
    history = History(config, (PV,), print, lambda: None)
    restored = history.open()
    started = time.monotonic() - began
    while not history.generation:
        time.sleep(0.001)
    extended = time.monotonic() - began
    ticket = history.record(PV.name, time.monotonic(), bytes(16), None, 0, 1)
    while history.stored_up_to(ticket) is None:
        time.sleep(0.001)
    assert history.stored_up_to(ticket) is True
    assert history.stop(60)
    assert PV.name in restored
    return f"start {started:.3f} s, extended {extended:.3f} s"


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description="Upgrade a large history, roll back, and upgrade again.")
    parser.add_argument("--mib", type=float, default=1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "history.db"
        rows = fill(path, arguments.mib)
        print(f"first release: {rows:,} rows, {path.stat().st_size / 2**20:.0f} MiB")
        print(f"upgrade: {upgrade(path)}")
        assert FirstRelease(path).accepts()
        FirstRelease(path).record(PV, [bytes(16)] * 10)
        print("rollback: the first release stored 10 rows")
        print(f"upgrade: {upgrade(path)}")
        left, damaged = count(path), list(path.parent.glob("*damaged*"))
        print(f"{left:,} rows, {rows + 12 - left} lost; {len(damaged)} files quarantined")


if __name__ == "__main__":
    main()
