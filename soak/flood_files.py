"""The history's file before and after a flood."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path

from soak.flood_frames import counter_of
from soak.flood_result import Found

_SPAN = 86_000 * 1_000_000
"""Microseconds over which rows are moved apart: a little less than a day, so that all are of the last day."""

Row = tuple[bytes, int | None]
"""Registers, and the client's number."""


def spread(path: Path) -> None:
    """Move the rows of a file apart, evenly over the last day; the newest stays as old as it is.

    It changes what the service has stored as it would have done it itself: each row's running time, which
    begins a day earlier, and how far the clocks are ahead of it.
    """
    with closing(sqlite3.connect(path)) as database, database:
        newest, count, running = database.execute(
            "SELECT max(id), count(*), max(running) FROM samples"
        ).fetchone()
        step = _SPAN // max(count, 1)
        database.execute("UPDATE samples SET running = ? - (? - id) * ?", (running + _SPAN, newest, step))
        database.execute("UPDATE last SET running = (SELECT running FROM samples WHERE samples.id = last.id)")
        database.execute("UPDATE clock SET monotonic = monotonic + ?, wall = wall - ?", (_SPAN, _SPAN))


def read_rows(path: Path) -> list[Row]:
    """Return all rows."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute("SELECT registers, client FROM samples ORDER BY id").fetchall()


def find(rows: Sequence[Row], counters: Collection[int], address: str) -> Found:
    """Look for samples by their counters. address: of the client that has written them."""
    client = int(IPv4Address(address))
    wanted = set(counters)
    found = [(counter_of(registers), number) for registers, number in rows]
    clients = [number for counter, number in found if counter in wanted]
    return Found(
        wanted=len(wanted),
        missing=len(wanted - {counter for counter, _ in found}),
        misattributed=sum(number is None or number % 2**32 != client for number in clients),
        partial=sum(counter is None for counter, _ in found),
    )


def delete_rows(path: Path, count: int) -> None:
    """Delete the oldest rows of a file."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "DELETE FROM samples WHERE id IN (SELECT id FROM samples ORDER BY id LIMIT ?)", (count,)
        )
