"""Queries that the service and the reader have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator


def is_extended(connection: sqlite3.Connection) -> bool:
    """Return whether the file has the columns and tables that version 1 did not have."""
    columns = connection.execute("PRAGMA table_info(samples)").fetchall()
    return any(name == "client" for _, name, *_ in columns)


def first_since(connection: sqlite3.Connection, running: int, low: int, high: int) -> int:
    """Return the first id in [low, high) whose running time is `running` or later; `high` if there is none.

    Running time grows with the id; ids may be missing.
    """
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT id, running FROM samples WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
        ).fetchone()
        if row is None or row[0] >= high or row[1] >= running:
            high = middle
        else:
            low = row[0] + 1
    return low


def chunks(items: Iterable[int], size: int) -> Iterator[list[int]]:
    """Yield lists of at most `size` items."""
    whole = list(items)
    for start in range(0, len(whole), size):
        yield whole[start : start + size]
