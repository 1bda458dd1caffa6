"""The tables of the history's file, and the numbers that identify it.

Version 1 began with the tables of `SCHEMA`. `EXTENSION` adds to them and leaves the version: earlier releases
quarantine a file of another version, but read and write one that is extended. So the tables `clock` and
`last`, whose rows they write without column names, keep their columns.
"""

from __future__ import annotations

APPLICATION_ID = 0x534D_4849
"""`SMHI`: SQLite's application_id."""
VERSION = 1
"""Of the tables below: SQLite's user_version."""
SCHEMA = """
CREATE TABLE maps (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, definition TEXT NOT NULL UNIQUE);
CREATE TABLE meters (id INTEGER PRIMARY KEY, name TEXT NOT NULL, unit_id INTEGER NOT NULL,
    map INTEGER NOT NULL REFERENCES maps (id), first INTEGER NOT NULL);
CREATE TABLE samples (id INTEGER PRIMARY KEY, meter INTEGER NOT NULL, running INTEGER NOT NULL,
    measured INTEGER, flags INTEGER NOT NULL, registers BLOB NOT NULL);
CREATE TABLE clock (first INTEGER PRIMARY KEY, boot TEXT NOT NULL, running INTEGER NOT NULL,
    monotonic INTEGER NOT NULL, wall INTEGER NOT NULL);
CREATE TABLE last (meter INTEGER PRIMARY KEY, id INTEGER NOT NULL, running INTEGER NOT NULL,
    measured INTEGER, flags INTEGER NOT NULL, registers BLOB NOT NULL);
CREATE VIEW arrivals AS SELECT samples.id AS id, meters.name AS meter,
    (running + (SELECT wall FROM clock WHERE first <= samples.id ORDER BY first DESC LIMIT 1)) / 1e6
    AS arrived, measured, flags, hex(registers) AS registers
    FROM samples JOIN meters ON meters.id = samples.meter;
"""
EXTENSION = (
    "ALTER TABLE samples ADD COLUMN client INTEGER",
    "CREATE TABLE generations (first INTEGER PRIMARY KEY, generation INTEGER NOT NULL)",
    "CREATE TABLE progress (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE owners (client INTEGER PRIMARY KEY, rows INTEGER NOT NULL, low INTEGER NOT NULL)",
    "DROP VIEW IF EXISTS arrivals",
    """CREATE VIEW arrivals AS SELECT samples.id AS id, meters.name AS meter,
    (running + (SELECT wall FROM clock WHERE first <= samples.id ORDER BY first DESC LIMIT 1)) / 1e6
    AS arrived, measured, flags, hex(registers) AS registers,
    (client >> 24 & 255) || '.' || (client >> 16 & 255) || '.' || (client >> 8 & 255) || '.' || (client & 255)
    AS client FROM samples JOIN meters ON meters.id = samples.meter""",
)
"""Statements that extend version 1. No row is rewritten: a new column is null in the rows before."""
PROBES = (
    "SELECT id, fingerprint, definition FROM maps LIMIT 1",
    "SELECT id, name, unit_id, map, first FROM meters LIMIT 1",
    "SELECT id, meter, running, measured, flags, registers FROM samples LIMIT 1",
    "SELECT first, boot, running, monotonic, wall FROM clock LIMIT 1",
    "SELECT meter, id, running, measured, flags, registers FROM last LIMIT 1",
)
"""Queries, each of which fails if a table differs from the one above."""
