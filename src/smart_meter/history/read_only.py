"""Reads an SQLite file that another program may write to: the one in use, or a copy. Writes nothing.

A file without a WAL is opened as immutable, so that SQLite does not create files beside it that the service's
user could not open. If the file changed during an immutable read, it is read again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from smart_meter.history.faults import DamagedError

_BUSY_SECONDS = 10.0
_TRIES = 100
_Result = TypeVar("_Result")


class ReadOnlyFile:
    """An open file; every method but `close` raises sqlite3.Error, OSError or DamagedError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._state: tuple[int, ...] = ()
        self._immutable = False

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read(self, action: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Return what `action` reads, in one transaction; repeat it if the file changed meanwhile."""
        for _ in range(_TRIES):
            connection = self._connect()
            connection.execute("BEGIN")
            try:
                result = action(connection)
            except sqlite3.DatabaseError:
                # A file that changes during an immutable read looks damaged.
                if self._is_current():
                    raise
                continue
            finally:
                connection.rollback()
            if self._is_current():
                return result
        raise DamagedError("it changes faster than it can be read; try again")

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self._is_current():
                return self._connection
            self.close()
        self._state = self._look()
        self._immutable = self._state[-1] == 0
        mode = "immutable=1" if self._immutable else "mode=ro"
        uri = f"file://{quote(os.path.abspath(self.path))}?{mode}"
        self._connection = sqlite3.connect(uri, timeout=_BUSY_SECONDS, isolation_level=None, uri=True)
        return self._connection

    def _is_current(self) -> bool:
        return not self._immutable or self._look() == self._state

    def _look(self) -> tuple[int, ...]:
        status = os.stat(self.path)
        try:
            wal = os.stat(self.path + "-wal").st_size
        except FileNotFoundError:
            wal = 0
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, wal
