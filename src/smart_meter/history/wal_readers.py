"""Which other program reads the history, so that its WAL grows."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of Linux with 64-bit offsets: type, whence, start, length, process."""
_READ_LOCKS = 123, 5
"""First byte and number of the bytes that readers lock in the -shm file (SQLite, "WAL-mode File Format")."""


class WalReaders:
    """Names a program that holds a read lock on a database in WAL mode.

    Closing any descriptor of the -shm file drops all locks that this process has on it, SQLite's too. So it
    is opened once, and `close` has to be called after the database was closed.
    """

    def __init__(self, path: str) -> None:
        """path: the database's."""
        self._path = f"{path}-shm"
        self._descriptor: int | None = None

    def name(self) -> str | None:
        """Return one reader's process and program; None if there is none. Raises OSError."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDONLY)
        request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, *_READ_LOCKS, 0)
        kind, _, _, _, process = _FLOCK.unpack(fcntl.fcntl(self._descriptor, fcntl.F_GETLK, request))
        if kind == fcntl.F_UNLCK:
            return None
        try:
            return f"process {process} ({Path(f'/proc/{process}/comm').read_text().strip()})"
        except OSError:
            # The service may not see the processes of others.
            return f"process {process}"

    def close(self) -> None:
        """Close the -shm file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
