"""Puts a file that can't be gone on with out of the way; it is never deleted."""

from __future__ import annotations

import os
from datetime import UTC, datetime

SUFFIXES = ("-wal", "-shm", "")
"""The database itself last: whatever interrupts this, the next start finds it and judges it again."""


def quarantine(path: str, wall: float) -> str:
    """Rename a database and what belongs to it; return its new path.

    wall: Unix seconds, for the name. Raises OSError.
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
