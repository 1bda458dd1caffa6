"""Copies of a history: made while the service writes to the file, and taken back while it runs.

A copy that is to be restored is put beside the history. The writer then takes it as the history, and appends
the rows of the file that it replaces. Each step is a rename or a commit, so that a power cut in between
only delays the rest.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from urllib.parse import quote

from smart_meter.history.faults import DamagedError
from smart_meter.history.quarantine import SUFFIXES

COPY = ".restore"
"""Appended to the path of a copy that is to become the history."""
BEFORE = ".before-restore"
"""Appended to the path of the history that it replaces, until its rows are appended."""


def copy(source: str, target: str, finish: Callable[[str], None] = lambda part: None) -> None:
    """Copy a database, which may be in use, to a new file that is complete and on disk, or not there at all.

    finish: is called with the path of the copy before it gets its name.
    Raises sqlite3.Error, OSError, or DamagedError for a copy that is not whole.
    """
    part = f"{target}.part"
    if os.path.lexists(part):
        os.unlink(part)
    wal = f"{source}-wal"
    # Without a WAL nobody writes, and SQLite need not create files beside it.
    mode = "mode=ro" if os.path.exists(wal) and os.path.getsize(wal) else "immutable=1"
    uri = f"file://{quote(os.path.abspath(source))}?{mode}"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as read, closing(sqlite3.connect(part)) as written:
            # In one step: in several, it would begin again with each commit of the service.
            read.backup(written)
            _check(written)
            written.execute("PRAGMA journal_mode = DELETE").fetchall()
        finish(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.rename(part, target)
    except BaseException:
        if os.path.lexists(part):
            os.unlink(part)
        raise
    sync_folder(target)


def _check(connection: sqlite3.Connection) -> None:
    [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedError(f"it is damaged: {found}")


def sync_folder(path: str) -> None:
    """Bring renames in a file's folder to the disk. Raises OSError."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_waiting(path: str) -> bool:
    """Return whether a copy waits to become the history."""
    return os.path.lexists(path + COPY)


def has_rows_to_append(path: str) -> bool:
    """Return whether the rows of a replaced file are still to be appended."""
    return os.path.lexists(path + BEFORE)


def replace(path: str) -> None:
    """Make a waiting copy the history, which has to be closed; go on where this was interrupted.

    Raises OSError.
    """
    if os.path.lexists(path) and is_waiting(path) and not has_rows_to_append(path):
        # The database itself comes last: it is what the next start goes on by.
        for suffix in SUFFIXES:
            if os.path.lexists(path + suffix):
                os.rename(path + suffix, path + BEFORE + suffix)
        sync_folder(path)
    if not os.path.lexists(path):
        for waiting in (COPY, BEFORE):
            if os.path.lexists(path + waiting):
                os.rename(path + waiting, path)
                break
        sync_folder(path)


def discard_replaced(path: str) -> None:
    """Delete a file whose rows are appended. Raises OSError."""
    for suffix in SUFFIXES:
        if os.path.lexists(path + BEFORE + suffix):
            os.unlink(path + BEFORE + suffix)
    sync_folder(path)
