"""The audit trail's file: an SQLite database in WAL mode, one row per event or per run of like events.

Only the trail's thread writes; any number of programs read. Errors are SQLite's own, OSError, or
DamagedError if the file can't be used any more.
"""

from __future__ import annotations

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from smart_meter.config import EventsConfig
from smart_meter.history.clocks import Clocks
from smart_meter.history.faults import DamagedError, primary_code
from smart_meter.history.queries import create, is_empty
from smart_meter.history.running_time import DAY, Segment, first_segment, microseconds
from smart_meter.log.audit.kinds import Kind
from smart_meter.log.audit.schema import APPLICATION_ID, NO_STOP, PAGE, PROBES, SCHEMA, VERSION
from smart_meter.log.audit.shares import HOUR, OTHERS, ROW_BYTES, Pair, Shares
from smart_meter.log.audit.text import DETAIL_BYTES, NAME_BYTES, TEXT_BYTES, harmless, shorten
from smart_meter.log.audit.waiting import SEPARATE, Key, Noted

BATCH = 100
"""Events that one commit writes, at most."""
OPEN_ROWS = 256
"""Rows whose count can still grow."""
LONGEST = DAY
"""How long a row's count grows: so a row stands for a day at most, and its age is known."""
MORE = "more events of this kind: over 50 in an hour were different"
"""The text of the row that counts those."""
_CHUNK = 50
"""Rows that are deleted at a time for want of room."""
_OLD = 1000
"""Rows that are searched at a time for those that are too old."""
_BATCH_PAGES = BATCH * (ROW_BYTES + TEXT_BYTES + DETAIL_BYTES + 3 * NAME_BYTES) // PAGE
_SEPARATE = frozenset(kind.value for kind in SEPARATE)
_INSERT = (
    "INSERT INTO events (kind, client, meter, text, detail, count, first, last, running) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Limits(NamedTuple):
    """Limits that follow from the configuration; pages have `PAGE` bytes."""

    age: int
    """Microseconds of running time."""
    pages: int
    """Of the database itself; the rest of max_size_mib is for the WAL."""
    checkpoint: int
    """Pages in the WAL at which they are moved into the database."""

    @classmethod
    def of(cls, config: EventsConfig) -> Limits:
        """Return the limits for a configuration."""
        whole = int(config.max_size_mib * 2**20) // PAGE
        checkpoint = min(whole // 16, 256)
        return cls(int(config.max_age_days * DAY), whole - checkpoint - 3 * _BATCH_PAGES, checkpoint)


class _Row:
    """A row whose count can still grow."""

    __slots__ = ("began", "id", "running")

    def __init__(self, number: int, began: int) -> None:
        self.id = number
        self.began = began
        """Running time of its first event."""
        self.running = began
        """Running time of its last event."""


class Store:
    """An open file, created if it does not exist."""

    def __init__(self, path: str, limits: Limits, clocks: Clocks, lock_seconds: float) -> None:
        """lock_seconds: how long to wait for another program's lock."""
        self.path = path
        self.elsewhere = 0
        """Bytes of quarantined files, which count as part of the size."""
        self.deleted_young = 0
        """Rows that were deleted for want of room before they were too old."""
        self._clocks = clocks
        self._limits = limits
        self._shares = Shares()
        self._open: OrderedDict[Key, _Row] = OrderedDict()
        self._connection = sqlite3.connect(
            path, timeout=lock_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            if is_empty(self._connection, APPLICATION_ID, VERSION):
                create(self._connection, APPLICATION_ID, VERSION, PAGE, SCHEMA)
            self._prepare()
            self._segment = self._load()
        except BaseException:
            self._connection.close()
            raise
        status = os.stat(path)
        self._file = status.st_dev, status.st_ino

    def close(self) -> None:
        """Checkpoint the WAL if possible, and close the file."""
        self._connection.close()

    def is_in_place(self) -> bool:
        """Return whether the path still names the open file, that is, it was not moved or deleted."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def set_limits(self, limits: Limits) -> None:
        """Apply changed limits; the next commits delete what is too much."""
        self._limits = limits
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {limits.checkpoint}")
        self._connection.execute(f"PRAGMA journal_size_limit = {limits.checkpoint * PAGE}")

    def write(self, events: Sequence[Noted]) -> None:
        """Write up to `BATCH` events in one commit. After an error, close the store: nothing was written."""
        with self._transaction():
            self._make_room()
            for event in events:
                self._write_event(event)
            self._keep_clock()

    def expire(self) -> None:
        """Delete rows that are too old, and return free pages to the file system after a lowered limit."""
        before = self._now() - self._limits.age
        while before > 0:
            rows = self._connection.execute(
                "SELECT id, kind, client, length(text) + length(detail), running FROM events "
                "ORDER BY id LIMIT ?",
                (_OLD,),
            ).fetchall()
            old = [row for row in rows if row[4] < before]
            if not old:
                break
            with self._transaction():
                self._delete(old)
        with self._transaction():
            self._make_room()
        if self._value("PRAGMA page_count") > self._pages() and self._value("PRAGMA freelist_count"):
            # execute() would take a single step, which frees a single page.
            self._connection.executescript("PRAGMA incremental_vacuum(1024)")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        yield
        self._connection.execute("COMMIT")

    def _write_event(self, event: Noted) -> None:
        kind = event.kind
        client = self._shares.client(kind, shorten(harmless(event.client), NAME_BYTES))
        meter = shorten(harmless(event.meter), NAME_BYTES)
        text, detail = harmless(event.text), harmless(event.detail)
        if client == OTHERS:
            detail = f"{event.client}: {detail}" if detail else event.client
        if kind == Kind.START.value and self._is_running():
            text = f"{text}; {NO_STOP}"
        running = max(event.monotonic + self._segment.monotonic_offset, 0)
        key = kind, client, meter, event.key[3], 0
        separate = kind in _SEPARATE
        if not separate and self._grow(key, event, detail, running):
            return
        pair = kind, client
        if self._shares.is_flooded(pair, running):
            key = kind, client, "", b"", 0
            separate, detail, text, meter = False, text, MORE, ""
            if self._grow(key, event, detail, running):
                return
        text, detail = shorten(text, TEXT_BYTES), shorten(detail, DETAIL_BYTES)
        size = len(text) + len(detail) + ROW_BYTES
        self._delete_oldest(pair, self._shares.excess(pair, size, self._pages() * PAGE))
        row = kind, client, meter, text, detail, event.events, event.first, event.last, running
        added = self._connection.execute(_INSERT, row)
        self._shares.add(pair, size, running)
        if not separate:
            self._open[key] = _Row(int(added.lastrowid or 0), running)
            if len(self._open) > OPEN_ROWS:
                self._open.popitem(last=False)

    def _grow(self, key: Key, event: Noted, detail: str, running: int) -> bool:
        """Add events to the row that has others like them; return False if there is none to add to."""
        row = self._open.get(key)
        if row is None:
            return False
        if running - row.running > HOUR or running - row.began > LONGEST:
            del self._open[key]
            return False
        changed = self._connection.execute(
            "UPDATE events SET count = count + ?, last = ?, detail = ?, running = ? WHERE id = ?",
            (event.events, event.last, shorten(detail, DETAIL_BYTES), running, row.id),
        )
        if not changed.rowcount:
            del self._open[key]
            return False
        row.running = running
        self._open.move_to_end(key)
        return True

    def _is_running(self) -> bool:
        """Return whether the last run has a start and no stop."""
        last = self._connection.execute(
            "SELECT max(id), kind FROM events WHERE kind IN (?, ?)", (Kind.START.value, Kind.STOP.value)
        ).fetchone()
        return bool(last[1] == Kind.START.value)

    def _make_room(self) -> None:
        """Delete the oldest rows of who takes most, until a commit's rows fit.

        Bounded, since a commit must end; the next one goes on.
        """
        for _ in range(100):
            used = self._value("PRAGMA page_count") - self._value("PRAGMA freelist_count")
            if used <= self._pages():
                return
            pair = self._shares.largest()
            if pair is None:
                return
            self.deleted_young += self._delete_oldest(pair, _CHUNK)

    def _delete_oldest(self, pair: Pair, count: int) -> int:
        if count <= 0:
            return 0
        rows = self._connection.execute(
            "SELECT id, kind, client, length(text) + length(detail) FROM events "
            "WHERE kind = ? AND client = ? ORDER BY id LIMIT ?",
            (*pair, count),
        ).fetchall()
        self._delete(rows)
        return len(rows)

    def _delete(self, rows: Iterable[tuple[int, str, str, int] | tuple[int, str, str, int, int]]) -> None:
        for number, kind, client, size, *_ in rows:
            self._connection.execute("DELETE FROM events WHERE id = ?", (number,))
            self._shares.count((kind, client), -1, -size - ROW_BYTES)

    def _keep_clock(self) -> None:
        # The wall clock may have been set since the file was opened.
        now = self._now()
        segment = self._segment._replace(running=now, wall_offset=microseconds(self._clocks.wall()) - now)
        self._connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?)", segment)

    def _now(self) -> int:
        return microseconds(self._clocks.monotonic()) + self._segment.monotonic_offset

    def _pages(self) -> int:
        """Return how many pages the file may have."""
        return max(self._limits.pages - self.elsewhere // PAGE, self._limits.pages // 16)

    def _prepare(self) -> None:
        if self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        # FULL syncs the WAL at each commit: what is written outlives a power cut.
        self._connection.execute("PRAGMA synchronous = FULL")
        # Debian's SQLite overwrites deleted rows with zeros by default, which doubles the bytes written.
        self._connection.execute("PRAGMA secure_delete = OFF")
        self._connection.execute("PRAGMA cell_size_check = ON")
        self._connection.execute("PRAGMA cache_size = -256")
        self.set_limits(self._limits)
        wal = self.path + "-wal"
        if not os.path.exists(wal) or os.path.getsize(wal) == 0:
            whole = self._value("PRAGMA page_count") * self._value("PRAGMA page_size")
            if os.path.getsize(self.path) < whole:
                raise DamagedError(f"it is cut off: {os.path.getsize(self.path)} bytes of {whole}")

    def _load(self) -> Segment:
        """Count the rows, and return the segment of the next ones."""
        execute = self._connection.execute
        try:
            for probe in PROBES:
                execute(probe).fetchall()
            for kind, client, rows, size in execute(
                "SELECT kind, client, count(*), sum(length(text) + length(detail)) FROM events GROUP BY 1, 2"
            ).fetchall():
                self._shares.count((kind, client), rows, size + rows * ROW_BYTES)
            found = execute("SELECT boot, running, monotonic, wall FROM clock").fetchone()
            newest = "SELECT running FROM events ORDER BY id DESC LIMIT 1000"
            last = self._value(f"SELECT ifnull(max(running), 0) FROM ({newest})")  # noqa: S608 - the query above
        except sqlite3.OperationalError as error:
            if primary_code(error) == sqlite3.SQLITE_ERROR:
                raise DamagedError(f"its tables are not this program's: {error}") from error
            raise
        previous = None if found is None else Segment(*found)
        monotonic, wall = microseconds(self._clocks.monotonic()), microseconds(self._clocks.wall())
        segment = first_segment(previous, last, self._clocks.boot, monotonic, wall)
        self._count_new_rows(monotonic + segment.monotonic_offset - HOUR)
        return segment

    def _count_new_rows(self, since: int) -> None:
        """Count the rows of the last hour, whose number is limited also over restarts."""
        rows = self._connection.execute(
            "SELECT kind, client, running FROM (SELECT * FROM events ORDER BY id DESC LIMIT 5000) "
            "WHERE running > ? ORDER BY id",
            (since,),
        )
        for kind, client, running in rows.fetchall():
            self._shares.remember((kind, client), running)

    def _value(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])
