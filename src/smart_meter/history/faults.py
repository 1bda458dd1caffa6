"""What can be wrong with a history file, and how to fix it."""

from __future__ import annotations

import os
import sqlite3

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class DamagedError(Exception):
    """The file can't be used any more; the text gives the reason."""


FAULTS = (sqlite3.Error, OSError, DamagedError)
"""Everything that using the file may raise."""


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code; SQLITE_ERROR if the error has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return sqlite3.SQLITE_ERROR if code is None else int(code) & 0xFF


def is_damage(error: BaseException) -> bool:
    """Return whether an error means that the file is damaged, so that waiting would not help."""
    if isinstance(error, DamagedError):
        return True
    return isinstance(error, sqlite3.Error) and primary_code(error) in DAMAGED


def explain(error: BaseException, path: str) -> str:
    """Return what is wrong with the file and how to fix it."""
    if isinstance(error, DamagedError):
        return str(error)
    if not isinstance(error, sqlite3.Error):
        reason = error.strerror if isinstance(error, OSError) else None
        return reason.lower() if reason else repr(error)
    code = primary_code(error)
    if code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(path)
    return _REASONS.get(code, str(error))


_READ_ONLY = (
    "it can't be written: its file system, its folder or the file itself is read-only; "
    "see `mount`, `ls -l` and `dmesg`"
)
_REASONS = {
    sqlite3.SQLITE_FULL: "no space is left on its disk; free some",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: "access is denied; see `ls -l`",
    sqlite3.SQLITE_BUSY: "another program has locked it; end that one, or its transaction",
    sqlite3.SQLITE_LOCKED: "another program has locked it; end that one, or its transaction",
    sqlite3.SQLITE_IOERR: "its disk fails to read or write; see `dmesg`",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database",
}


def _cannot_open(path: str) -> str:
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return f"the folder {folder} does not exist; create it"
    if os.path.isdir(path):
        return "it is a folder; name a file"
    if not os.access(folder, os.W_OK):
        return _READ_ONLY
    return "it can't be opened; see `ls -l`: the service's user has to own it"
