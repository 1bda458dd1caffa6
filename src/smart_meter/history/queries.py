"""Queries that the service and the readers have in common, for the history and for the audit trail."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from smart_meter.history.faults import DamagedError, primary_code


def is_empty(connection: sqlite3.Connection, application_id: int, version: int) -> bool:
    """Return whether a file is new. Raises DamagedError if it is not of this program and version."""
    try:
        ours = _value(connection, "PRAGMA application_id")
        found = _value(connection, "PRAGMA user_version")
        empty = _value(connection, "SELECT count(*) FROM sqlite_master") == 0
    except sqlite3.DatabaseError as error:
        if primary_code(error) == sqlite3.SQLITE_NOTADB:
            raise DamagedError("it is not an SQLite database") from error
        raise
    if empty and ours == 0 and found == 0:
        return True
    if ours != application_id:
        raise DamagedError("it is another program's database")
    if found != version:
        raise DamagedError(f"its version is {found}; this program reads version {version}")
    return False


def create(connection: sqlite3.Connection, application_id: int, version: int, page: int, schema: str) -> None:
    """Create the tables in an empty file. page: the size of a page in bytes."""
    # Both have to be set before the first table. Incremental vacuum lets the file shrink in steps.
    connection.execute(f"PRAGMA page_size = {page}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {application_id}; PRAGMA user_version = {version};"
        f"{schema} COMMIT;"
    )


def check_identity(
    connection: sqlite3.Connection, application_id: int, version: int, probes: Iterable[str], kind: str
) -> None:
    """Raise DamagedError unless a file to be read is of this program and version.

    probes: queries that fail if columns are missing. kind: what the file should be.
    """
    try:
        ours = _value(connection, "PRAGMA application_id")
        found = _value(connection, "PRAGMA user_version")
        if ours != application_id:
            raise DamagedError(f"it is not {kind} of this program")
        if found != version:
            raise DamagedError(f"its version is {found}; this program reads version {version}")
        for probe in probes:
            connection.execute(probe).fetchall()
    except sqlite3.OperationalError as error:
        if primary_code(error) == sqlite3.SQLITE_ERROR:
            raise DamagedError(f"its tables are not this program's: {error}") from error
        raise


def _value(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


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
