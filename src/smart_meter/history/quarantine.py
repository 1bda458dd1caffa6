"""Renames a file that can't be used any more, so that a new one can be created.

Renamed files count as part of the history's size. They are deleted last, the oldest first; the newest stays.
"""

from __future__ import annotations

import os
import re
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


def prune(path: str, most: int) -> tuple[int, list[str]]:
    """Delete the oldest renamed files until they take at most `most` bytes, but not the newest.

    Returns the bytes that the others take, and the names of those that were deleted. Raises OSError.
    """
    folder, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + r"\.damaged-(\d{8}T\d{6})(?:-(\d+))?(?:-wal|-shm)?")
    sizes: dict[tuple[str, int], int] = {}
    files: dict[tuple[str, int], list[str]] = {}
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                key = match[1], int(match[2] or 1)
                sizes[key] = sizes.get(key, 0) + entry.stat(follow_symlinks=False).st_size
                files.setdefault(key, []).append(entry.name)
    deleted: list[str] = []
    for key in sorted(sizes)[:-1]:
        if sum(sizes.values()) <= most:
            break
        for file in files[key]:
            os.unlink(os.path.join(folder, file))
        deleted.append(min(files[key], key=len))
        del sizes[key]
    return sum(sizes.values()), deleted
