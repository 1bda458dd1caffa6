"""The history's file: an SQLite database in WAL mode, one row per sample. One thread writes, any number read.

A commit costs one fsync. Errors are SQLite's own, or DamagedError if the file can't be used any more.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import NamedTuple

from smart_meter.config import MeterConfig
from smart_meter.history.faults import DamagedError, primary_code
from smart_meter.history.limits import PAGE, StorageLimits
from smart_meter.history.maps import define
from smart_meter.history.owners import Owners
from smart_meter.history.queries import chunks, create, first_since, is_empty, is_extended
from smart_meter.history.running_time import Segment
from smart_meter.history.sample_queue import QueuedSample
from smart_meter.history.schema import APPLICATION_ID, EXTENSION, PROBES, SCHEMA, VERSION
from smart_meter.history.wal_readers import WalReaders
from smart_meter.registers.layout import Layout

_ROWS = (64, 8, 1)
"""Rows per INSERT statement, in turn. A larger one would keep the other thread waiting on a single CPU."""
_CHUNK = 2000
"""The least number of rows that one commit deletes when there are too many."""
_SCAN = 4096
"""The most rows that a start searches for each meter's last one."""
_SEQUENCE = "sequence"
_CLIENT = itemgetter(5)
"""A queued sample's client."""
ROW_BYTES = 46
"""What SQLite stores for a row besides its registers, at most."""


class Last(NamedTuple):
    """The last row of a meter."""

    id: int
    running: int
    measured: int | None
    flags: int
    registers: bytes
    """Of the map's whole span."""
    segment: Segment | None
    """None if the segment it belongs to is no longer kept."""
    client: int = 0
    """The sender; 0 if it is not known."""


class Database:
    """An open file, created if it does not exist. Only one thread may use it at a time."""

    def __init__(self, path: str, limits: StorageLimits, lock_seconds: float) -> None:
        """lock_seconds: how long to wait for another program's lock.

        Raises sqlite3.Error, OSError or DamagedError.
        """
        self.path = path
        self.limits = limits
        self.newest = 0
        """The highest id."""
        self.running = 0
        """The newest row's running time."""
        self.last_segment: Segment | None = None
        """The segment of the newest row that the file held when it was opened."""
        self.elsewhere = 0
        """Bytes of quarantined files, which count against the limit."""
        self.deleted_young = 0
        """Rows that were deleted for want of room before they were too old."""
        self.youngest: tuple[int, int] = 0, 0
        """Of the last of these: the client, and the age in microseconds."""
        self.created = False
        """Whether the file is new."""
        self.generation = 0
        """The generation of the next rows; 0 while the file is not extended.

        A random number: it distinguishes the rows of two files that were copied from one.
        """
        self.segment: Segment | None = None
        """The segment of the next rows; None until `begin_segment`."""
        self._ids: dict[int, int] = {}
        self._latest: dict[int, int] = {}
        self._scanned = 0
        self._connection = sqlite3.connect(
            path, timeout=lock_seconds, isolation_level=None, check_same_thread=False
        )
        self._owners = Owners(self._connection)
        self._readers = WalReaders(path)
        try:
            if is_empty(self._connection, APPLICATION_ID, VERSION):
                self._create()
            self._prepare()
            self._find_end()
        except BaseException:
            self._connection.close()
            raise
        status = os.stat(path)
        self._file = status.st_dev, status.st_ino

    def close(self) -> None:
        """Checkpoint the WAL if possible, and close the file. Raises sqlite3.Error."""
        try:
            self._connection.close()
        finally:
            self._readers.close()

    def wal_bytes(self) -> int:
        """Return the size of the WAL; 0 if there is none."""
        try:
            return os.stat(f"{self.path}-wal").st_size
        except OSError:
            return 0

    def reader(self) -> str | None:
        """Return which other program reads the file now; None if there is none. Raises OSError."""
        return self._readers.name()

    def is_in_place(self) -> bool:
        """Return whether the path still names the open file, that is, it was not moved or deleted."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all or nothing. Close the database after an error: cached ids may be of rolled-back rows."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._find_newest()
        if not self.generation:
            self._extend()
        yield
        if self.newest - self._scanned >= _SCAN:
            self._keep_last()
        self._connection.execute("COMMIT")

    def begin_generation(self, first: int) -> None:
        """Give the rows from `first` on another generation, within a transaction."""
        generation = secrets.randbelow(2**32 - 1) + 1
        self._connection.execute("INSERT OR REPLACE INTO generations VALUES (?, ?)", (first, generation))
        self.generation = generation

    def begin_segment(self, segment: Segment) -> None:
        """Add the segment of the next rows."""
        self._connection.execute(
            "INSERT OR REPLACE INTO clock VALUES (?, ?, ?, ?, ?)",
            (self.newest + 1, segment.boot, segment.running, segment.monotonic_offset, segment.wall_offset),
        )
        self.segment = segment

    def insert(self, samples: Sequence[QueuedSample], meters: Mapping[int, MeterConfig]) -> None:
        """Add a row for each sample, within a transaction. meters: by the keys that the samples hold."""
        segment = self.segment
        if segment is None:
            raise ValueError("no segment has begun")
        offset, running, row = segment.monotonic_offset, self.running, self.newest
        ids, latest = self._ids, self._latest
        values: list[object] = []
        for key, arrived, measured, flags, registers, client in samples:
            row += 1
            # Running time never goes back, whatever the caller's clock did.
            moment = int(arrived * 1e6) + offset
            if moment > running:  # noqa: PLR1730 - a call of max() for each row would cost 5 %
                running = moment
            if key not in ids:
                ids[key] = self._meter_id(meters[key], row)
            meter = ids[key]
            latest[meter] = row
            values += (meter, running, measured, flags, registers, client or None)
        start = 0
        for count, statement in _INSERTS.items():
            size = count * _COLUMNS
            while start + size <= len(values):
                self._connection.execute(statement, values[start : start + size])
                start += size
                # On a single CPU, the other thread would wait for the rest of this time slice, 3 ms.
                os.sched_yield()
        self._owners.add(Counter(map(_CLIENT, samples)), self.newest + 1)
        self.newest = row
        self.running = running

    def make_room(self, count: int, registers: int, samples: Iterable[Sequence[QueuedSample]] = ()) -> None:
        """Delete rows until `count` more fit, each with `registers` bytes of registers.

        samples: those that will be added; their clients give up their own rows.
        Several rounds, since old rows may be much smaller than new ones; bounded, since a commit must end.
        """
        row = (registers + ROW_BYTES) / (PAGE * 3 // 4)
        needed = int(count * row) + 12
        free, limit = self._free_pages(), self._pages()
        if free - needed >= limit // 8:
            return
        owners = self._owners
        clients = Counter(client for batch in samples for client in map(_CLIENT, batch)) or {0: count}
        owners.charge(clients, row, free, limit)
        for owner, rows in owners.debtors().items():
            self._delete_of(owner, rows, count)
        for most in (owners.most(clients), owners.most(clients), owners.largest(), owners.largest()):
            if self._free_pages() >= needed:
                return
            self._delete_of(most, max(_CHUNK, 2 * count), count)

    def _free_pages(self) -> int:
        used = self._value("PRAGMA page_count") - self._value("PRAGMA freelist_count")
        return self._pages() - used

    def _pages(self) -> int:
        """Return how many pages the file may have."""
        return max(self.limits.pages - self.elsewhere // PAGE, self.limits.pages // 16)

    def shrink(self) -> None:
        """Return some free pages to the file system after a lowered limit; not within a transaction."""
        if self._value("PRAGMA page_count") > self._pages() and self._value("PRAGMA freelist_count"):
            # execute() would take a single step, which frees a single page.
            self._connection.executescript("PRAGMA incremental_vacuum(1024)")

    def expire(self, now: int, count: int) -> bool:
        """Delete a bounded number of rows that are too old; return whether there are more.

        now: running time, in microseconds. count: rows that the same commit adds.
        """
        before = now - self.limits.age
        if before <= self._oldest_running():
            return False
        chunk = max(_CHUNK, 2 * count)
        return self._delete_oldest(chunk, before) and before > self._oldest_running()

    def set_limits(self, limits: StorageLimits) -> None:
        """Apply changed limits; the next commits delete what is too much."""
        self.limits = limits
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {limits.checkpoint}")
        self._connection.execute(f"PRAGMA journal_size_limit = {limits.wal}")

    def last(self, meter: MeterConfig) -> Last | None:
        """Return a meter's last row recorded with its present map; None if there is none."""
        found = self._connection.execute(
            "SELECT meters.id FROM meters JOIN maps ON maps.id = map WHERE name = ? AND fingerprint = ?",
            (meter.name, meter.map.fingerprint),
        ).fetchall()
        rows = [row for (key,) in found if (row := self._last_row(key)) is not None]
        if not rows:
            return None
        newest = Last(*max(rows), None)
        layout = Layout(meter.map)
        registers = newest.registers
        # The first release stored the whole span.
        if len(registers) not in (layout.size, layout.span_size):
            return None
        whole = registers if len(registers) == layout.span_size else layout.unpack(registers)
        return newest._replace(
            registers=whole, segment=self._segment_of(newest.id), client=self._client_of(newest.id)
        )

    def sequence_numbers(self) -> dict[str, int]:
        """Return, by meter's name, the number from which on its samples may count.

        At least the id of its newest row, whatever map that has: the first release's numbers were these.
        """
        numbers: dict[str, int] = {}
        for key, name in self._connection.execute("SELECT id, name FROM meters").fetchall():
            row = self._last_row(key)
            numbers[name] = max(numbers.get(name, 0), 0 if row is None else row[0])
        if self.generation:
            found = self._connection.execute("SELECT name, value FROM progress").fetchall()
            for name, value in found:
                kind, _, meter = name.partition(":")
                if kind == _SEQUENCE:
                    numbers[meter] = max(numbers.get(meter, 0), value)
        return numbers

    def keep_sequence_numbers(self, numbers: Mapping[str, int]) -> None:
        """Store the numbers that `sequence_numbers` returns at the next start, within a transaction."""
        self.keep_progress({f"{_SEQUENCE}:{meter}": number for meter, number in numbers.items()})

    def progress(self, name: str) -> int:
        """Return a number that `keep_progress` stored; 0 if there is none."""
        if not self.generation:
            return 0
        found = self._connection.execute("SELECT value FROM progress WHERE name = ?", (name,)).fetchone()
        return 0 if found is None else int(found[0])

    def keep_progress(self, numbers: Mapping[str, int]) -> None:
        """Store numbers by name, within a transaction."""
        self._connection.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?)", list(numbers.items()))

    def last_of_generation(self, generation: int) -> int:
        """Return the id up to which rows may be of an earlier generation; 0 if the file has not had it."""
        if not self.generation:
            return 0
        later = self._connection.execute(
            "SELECT min(first) FROM generations WHERE first > "
            "(SELECT max(first) FROM generations WHERE generation = ?)",
            (generation,),
        ).fetchone()
        return 0 if later[0] is None else later[0] - 1

    def _create(self) -> None:
        self.created = True
        create(self._connection, APPLICATION_ID, VERSION, PAGE, SCHEMA)
        with self.transaction():
            pass

    def _extend(self) -> None:
        """Add the columns and tables of later releases to a file of version 1, within a transaction."""
        for statement in EXTENSION:
            self._connection.execute(statement)
        self._owners.count_all_as_unknown(self._oldest(), self.newest)
        self._owners.save(self.newest)
        # From the first row on: rows of version 1 belong to the file's first generation.
        self.begin_generation(0)

    def _prepare(self) -> None:
        if self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        # FULL syncs the WAL at each commit. NORMAL only syncs at a checkpoint: a power cut could then lose
        # samples whose writes were acknowledged as stored, and more than one commit interval of the others.
        self._connection.execute("PRAGMA synchronous = FULL")
        # Debian's SQLite overwrites deleted rows with zeros by default, which doubles the bytes written.
        self._connection.execute("PRAGMA secure_delete = OFF")
        self._connection.execute("PRAGMA cell_size_check = ON")
        self._connection.execute("PRAGMA cache_size = -1000")
        self.set_limits(self.limits)
        wal = self.path + "-wal"
        if not os.path.exists(wal) or os.path.getsize(wal) == 0:
            whole = self._value("PRAGMA page_count") * self._value("PRAGMA page_size")
            if os.path.getsize(self.path) < whole:
                raise DamagedError(f"it is cut off: {os.path.getsize(self.path)} bytes of {whole}")

    def _find_end(self) -> None:
        try:
            for probe in PROBES:
                self._connection.execute(probe).fetchall()
            self._find_newest()
            row = self._connection.execute(
                "SELECT running FROM samples WHERE id = ?", (self.newest,)
            ).fetchone()
            self.running = 0 if row is None else int(row[0])
            self._oldest_running()
            if is_extended(self._connection):
                self.generation = self._value(
                    "SELECT generation FROM generations ORDER BY first DESC LIMIT 1"
                )
                self._owners.load(self._oldest(), self.newest)
            self.last_segment = self._segment_of(self.newest)
            self._scanned = self._value("SELECT ifnull(max(id), 0) FROM last")
            self._latest = dict(
                self._connection.execute(
                    "SELECT meter, max(id) FROM samples WHERE id > ? GROUP BY meter", (self._scanned,)
                )
            )
        except sqlite3.OperationalError as error:
            if primary_code(error) == sqlite3.SQLITE_ERROR:
                raise DamagedError(f"its tables are not this program's: {error}") from error
            raise

    def _find_newest(self) -> None:
        self.newest = self._value("SELECT ifnull(max(id), 0) FROM samples")

    def _meter_id(self, meter: MeterConfig, first: int) -> int:
        """Return the id of a meter with its present map, adding it if necessary; first: its first row."""
        execute = self._connection.execute
        definition = define(meter.map)
        newest = execute(
            "SELECT meters.id, unit_id, definition FROM meters JOIN maps ON maps.id = map "
            "WHERE name = ? ORDER BY meters.id DESC LIMIT 1",
            (meter.name,),
        ).fetchone()
        if newest is not None and newest[1:] == (meter.unit_id, definition):
            return int(newest[0])
        execute(
            "INSERT OR IGNORE INTO maps (fingerprint, definition) VALUES (?, ?)",
            (meter.map.fingerprint, definition),
        )
        added = execute(
            "INSERT INTO meters (name, unit_id, map, first) "
            "VALUES (?, ?, (SELECT id FROM maps WHERE definition = ?), ?)",
            (meter.name, meter.unit_id, definition, first),
        )
        return int(added.lastrowid or 0)

    def _delete_oldest(self, count: int, before: int) -> bool:
        """Delete up to `count` rows, but not the newest nor those since `before`; return whether any was."""
        oldest = self._connection.execute("SELECT id FROM samples ORDER BY id LIMIT 1").fetchone()
        if oldest is None or oldest[0] >= self.newest:
            return False
        end = first_since(self._connection, before, oldest[0], min(oldest[0] + count, self.newest))
        if end > self._scanned:
            self._keep_last()
        counted = self._connection.execute(
            "SELECT ifnull(client, 0), count(*) FROM samples WHERE id < ? GROUP BY 1", (end,)
        )
        self._owners.remove(dict(counted.fetchall()))
        self._connection.execute("DELETE FROM samples WHERE id < ?", (end,))
        self._delete_segments()
        return bool(end > oldest[0])

    def _delete_of(self, owner: int, count: int, added: int) -> None:
        """Delete a client's oldest rows since the file is full. added: rows that the commit adds."""
        self._keep_last()
        deleted = self._owners.delete(owner, count, self.newest, added)
        if deleted.rows:
            age = self.running - deleted.running
            if age < self.limits.age:
                self.deleted_young += deleted.rows
                self.youngest = deleted.owner, age
            self._delete_segments()

    def _delete_segments(self) -> None:
        """Delete the segments that end before the oldest row."""
        self._connection.execute(
            "DELETE FROM clock WHERE first < (SELECT max(first) FROM clock "
            "WHERE first <= (SELECT id FROM samples ORDER BY id LIMIT 1))"
        )

    def _oldest(self) -> int:
        return self._value("SELECT ifnull(min(id), 0) FROM samples")

    def _oldest_running(self) -> int:
        row = self._connection.execute("SELECT running FROM samples ORDER BY id LIMIT 1").fetchone()
        return self.running if row is None else int(row[0])

    def _keep_last(self) -> None:
        """Copy each meter's last row: a start finds it without a search, and deletions don't reach it."""
        for chunk in chunks(self._latest.values(), 500):
            marks = ",".join("?" * len(chunk))
            self._connection.execute(
                "INSERT OR REPLACE INTO last SELECT meter, id, running, measured, flags, registers "  # noqa: S608
                f"FROM samples WHERE id IN ({marks})",
                chunk,
            )
        self._latest.clear()
        self._scanned = self.newest
        self._owners.save(self.newest)

    def _last_row(self, meter: int) -> tuple[int, int, int | None, int, bytes] | None:
        columns = "SELECT id, running, measured, flags, registers FROM"
        latest = self._latest.get(meter)
        if latest is not None:
            cursor = self._connection.execute(f"{columns} samples WHERE id = ?", (latest,))
        else:
            cursor = self._connection.execute(f"{columns} last WHERE meter = ?", (meter,))
        row: tuple[int, int, int | None, int, bytes] | None = cursor.fetchone()
        return row

    def _client_of(self, row: int) -> int:
        if not self.generation:
            return 0
        found = self._connection.execute("SELECT client FROM samples WHERE id = ?", (row,)).fetchone()
        return 0 if found is None else found[0] or 0

    def _segment_of(self, row: int) -> Segment | None:
        found = self._connection.execute(
            "SELECT boot, running, monotonic, wall FROM clock WHERE first <= ? ORDER BY first DESC LIMIT 1",
            (row,),
        ).fetchone()
        return None if found is None else Segment(*found)

    def _value(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])


_COLUMNS = 6
_INSERT = "INSERT INTO samples (meter, running, measured, flags, registers, client) VALUES (?, ?, ?, ?, ?, ?)"
_INSERTS = {count: _INSERT + ", (?, ?, ?, ?, ?, ?)" * (count - 1) for count in _ROWS}
