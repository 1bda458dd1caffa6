"""Reads a history's file for `smart-meter history`: the one in use, or a copy on any machine. Writes nothing.

The service does not use it: it reads the last values through `Database.last`.

Each window of rows is a transaction of its own, so that the writer can checkpoint in between.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address

from smart_meter.history.clocks import Clocks
from smart_meter.history.faults import DamagedError
from smart_meter.history.maps import parse
from smart_meter.history.queries import check_identity, first_since, is_extended
from smart_meter.history.read_only import ReadOnlyFile
from smart_meter.history.running_time import SECOND, Segment, microseconds
from smart_meter.history.schema import APPLICATION_ID, PROBES, VERSION
from smart_meter.registers.register_map import RegisterMap

WINDOW = 4096
"""Rows that are read at a time."""
OUT_OF_RANGE = 1
"""The flag of a sample with a value outside its measurement's minimum and maximum."""
_Row = tuple[int, int, int, int | None, int, bytes, int | None]
"""Id, meter, running time, measured, flags, registers, client."""


@dataclass(frozen=True, slots=True)
class RecordedMeter:
    """A meter with the map that it had for a range of rows."""

    id: int
    name: str
    unit_id: int
    map: RegisterMap
    stored: RegisterMap
    """The same with each measurement's place in a row as its address."""
    first: int
    """The first row that may belong to it."""
    end: int
    """The first row after that which can't."""


@dataclass(frozen=True, slots=True)
class RecordedSample:
    """A sample, decoded with the map it was recorded with."""

    id: int
    arrived: float
    """Unix seconds by the Pi's wall clock, when the sample arrived."""
    measured: int | None
    """Unix seconds, as sent by the meter."""
    meter: RecordedMeter
    values: dict[str, float | None]
    """In engineering units, by the measurement's name, without the map's timestamp; None: no value."""
    out_of_range: list[str]
    """Names of measurements."""
    client: str | None
    """The sender's IPv4 address; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows to read."""

    ranges: list[tuple[int, int]]
    """Ids in order, as half-open ranges [first, end)."""
    meters: dict[int, RecordedMeter]
    clock: list[tuple[int, Segment]]
    """Each segment with its first row, in order."""


class Reader:
    """An open file; raises sqlite3.Error, OSError or DamagedError."""

    def __init__(self, path: str, clocks: Clocks | None = None) -> None:
        self.path = path
        self._clocks = clocks or Clocks.system()
        self._file = ReadOnlyFile(path)
        self._file.read(_identify)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def names(self) -> list[str]:
        """Return the names of the meters that have or had rows."""
        rows = self._file.read(
            lambda c: c.execute("SELECT DISTINCT name FROM meters ORDER BY name").fetchall()
        )
        return [name for (name,) in rows]

    def select(self, meter: str | None, since: timedelta | datetime | None) -> Selection:
        """Return which rows of a meter (None: of all) there are now since a time (None: from the first on).

        A timedelta counts back from now if the file was written during this boot of this machine, otherwise
        from the newest row. A datetime is compared with the wall clock that each row was recorded with.
        """
        return self._file.read(lambda connection: self._select(connection, meter, since))

    def rows(self, selection: Selection) -> Iterator[RecordedSample]:
        """Yield the selected rows in the order of arrival."""
        clock = selection.clock
        segment = 0
        for first, end in selection.ranges:
            low = first
            while low < end:
                window = self._window(low, end)
                # Identifiers may be far apart: rows of single clients are deleted.
                low = window[-1][0] + 1 if len(window) == WINDOW else end
                for row in window:
                    while segment + 1 < len(clock) and clock[segment + 1][0] <= row[0]:
                        segment += 1
                    meter = selection.meters.get(row[1])
                    if meter is not None:
                        offset = clock[segment][1].wall_offset if clock else 0
                        yield _decode(row, meter, offset)

    def _window(self, low: int, end: int) -> list[_Row]:
        def read(connection: sqlite3.Connection) -> list[_Row]:
            # The service may extend the file between two windows.
            client = "client" if is_extended(connection) else "NULL"
            columns = f"id, meter, running, measured, flags, registers, {client}"
            return connection.execute(
                f"SELECT {columns} FROM samples WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",  # noqa: S608 - our columns
                (low, end, WINDOW),
            ).fetchall()

        return self._file.read(read)

    def _select(
        self, connection: sqlite3.Connection, meter: str | None, since: timedelta | datetime | None
    ) -> Selection:
        execute = connection.execute
        clock = [
            (first, Segment(*rest))
            for first, *rest in execute(
                "SELECT first, boot, running, monotonic, wall FROM clock ORDER BY first"
            )
        ]
        [(oldest, newest)] = execute("SELECT ifnull(min(id), 1), ifnull(max(id), 0) FROM samples")
        ranges = [(oldest, newest + 1)]
        if isinstance(since, timedelta):
            row = execute("SELECT running FROM samples WHERE id = ?", (newest,)).fetchone()
            now = 0 if row is None else row[0]
            if clock and clock[-1][1].boot == self._clocks.boot:
                now = max(now, microseconds(self._clocks.monotonic()) + clock[-1][1].monotonic_offset)
            first = first_since(connection, now - int(since.total_seconds() * SECOND), oldest, newest + 1)
            ranges = [(first, newest + 1)]
        elif since is not None:
            ranges = []
            ends = [first for first, _ in clock[1:]] + [newest + 1]
            for (first, segment), end in zip(clock, ends, strict=True):
                low, high = max(first, oldest), min(end, newest + 1)
                running = microseconds(since.timestamp()) - segment.wall_offset
                ranges.append((first_since(connection, running, low, max(low, high)), max(low, high)))
        ranges = [(low, high) for low, high in ranges if low < high]
        meters = {
            one.id: one
            for one in _recorded(connection, newest + 1)
            if (meter is None or one.name == meter)
            and any(one.first < high and one.end > low for low, high in ranges)
        }
        return Selection(ranges, meters, clock)


def _identify(connection: sqlite3.Connection) -> None:
    check_identity(connection, APPLICATION_ID, VERSION, PROBES, "a history")


def _recorded(connection: sqlite3.Connection, end: int) -> list[RecordedMeter]:
    meters: list[RecordedMeter] = []
    ends: dict[str, int] = {}
    rows = connection.execute(
        "SELECT meters.id, name, unit_id, definition, first FROM meters JOIN maps ON maps.id = map "
        "ORDER BY meters.id DESC"
    )
    for key, name, unit_id, definition, first in rows:
        try:
            register_map, stored = parse(definition), parse(definition, as_stored=True)
        except ValueError as error:
            raise DamagedError(f"the register map of meter {name} can't be read: {error}") from error
        meters.append(RecordedMeter(key, name, unit_id, register_map, stored, first, ends.get(name, end)))
        ends[name] = first
    return meters[::-1]


def _decode(row: _Row, meter: RecordedMeter, wall_offset: int) -> RecordedSample:
    number, _, running, measured, flags, registers, client = row
    try:
        unpacked = struct.unpack(f">{meter.stored.quantity}H", registers)
        values = meter.stored.values(unpacked)
    except (struct.error, TypeError, ValueError) as error:
        raise DamagedError(f"row {number} does not fit the map of meter {meter.name}: {error}") from error
    timestamp = meter.map.timestamp
    if timestamp is not None:
        del values[timestamp.name]
    out = meter.stored.out_of_range(unpacked) if flags & OUT_OF_RANGE else []
    sender = None if client is None else str(IPv4Address(client % 2**32))
    return RecordedSample(number, (running + wall_offset) / SECOND, measured, meter, values, out, sender)
