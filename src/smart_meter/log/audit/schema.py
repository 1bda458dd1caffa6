"""The table of the audit trail's file, and the numbers that identify it."""

from __future__ import annotations

APPLICATION_ID = 0x534D_4556
"""`SMEV`: SQLite's application_id."""
VERSION = 1
"""Of the tables below: SQLite's user_version."""
PAGE = 1024
"""Bytes. Most commits change two pages: of a row, and of the index."""
SCHEMA = """
CREATE TABLE events (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, client TEXT NOT NULL, meter TEXT NOT NULL,
    text TEXT NOT NULL, detail TEXT NOT NULL, count INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, running INTEGER NOT NULL);
CREATE INDEX events_of ON events (kind, client);
CREATE TABLE clock (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, running INTEGER NOT NULL,
    monotonic INTEGER NOT NULL, wall INTEGER NOT NULL);
"""
"""`count` events, the first and the last at these times by the wall clock, in microseconds since 1970.

`running` is the running time (history/running_time.py) of the last one.
`clock` has one row, the last segment.
"""
PROBES = (
    "SELECT id, kind, client, meter, text, detail, count, first, last, running FROM events LIMIT 1",
    "SELECT boot, running, monotonic, wall FROM clock LIMIT 1",
)
"""Queries, each of which fails if a table differs from the one above."""
NO_STOP = "the run before ended without a stop"
"""How the text of a start ends if that is so."""
