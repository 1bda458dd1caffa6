"""The audit trail of a program under test: configured, and read back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from smart_meter.config import Config

KEPT = "events" in Config._fields
"""Whether this release keeps an audit trail."""
_NAME = "events.db"


class Event(NamedTuple):
    """An event, or several of a kind in one row."""

    kind: str
    client: str
    """An address, or empty."""
    text: str
    detail: str
    id: int
    first: int
    """When the first of them happened, in microseconds since 1970."""


def beside(database: Path) -> Path:
    """Return the path of the audit trail that belongs to a history file."""
    return database.with_name(_NAME)


def configuration(database: Path) -> str:
    """Return the section that keeps an audit trail beside a history file; empty if this release has none."""
    return f'\n[events]\npath = "{beside(database)}"\n' if KEPT else ""


def read(database: Path) -> list[Event] | None:
    """Return the events in the trail beside a history file; None if this release has no trail.

    Raises what `events` raises.
    """
    return events(beside(database)) if KEPT else None


def events(path: Path) -> list[Event]:
    """Return the events in a file, in order.

    Raises sqlite3.OperationalError if the file is not there, or if it is so new that it has no table yet.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as trail:
        found = trail.execute(
            "SELECT kind, client, text, detail, id, first FROM events ORDER BY id"
        ).fetchall()
    return [Event(*row) for row in found]
