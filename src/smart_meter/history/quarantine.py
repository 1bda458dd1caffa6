"""Renames a file that can't be used any more, so that a new one can be created; nothing is deleted."""

from __future__ import annotations

import os
from datetime import UTC, datetime

SUFFIXES = ("-wal", "-shm", "")
"""The database itself comes last: if this is interrupted, the next start finds and checks it again."""


def quarantine(path: str, wall: float) -> str:
    """Rename a database with its WAL and shared-memory file; return its new path.

    wall: Unix seconds, for the new name. Raises OSError.
    """
    stamp = datetime.fromtimestamp(int(wall), UTC).strftime("%Y%m%dT%H%M%S")
    wanted = f"{path}.damaged-{stamp}"
    new, number = wanted, 1
    while any(os.path.lexists(new + suffix) for suffix in SUFFIXES):
        number += 1
        new = f"{wanted}-{number}"
    for suffix in SUFFIXES:
        if os.path.lexists(path + suffix):
            os.rename(path + suffix, new + suffix)
    return new
