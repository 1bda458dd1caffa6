"""Reads an audit trail for `smart-meter events` and the doctor: the one in use, or a copy. Writes nothing.

Each window of rows is a transaction of its own, so that the service can checkpoint in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from smart_meter.history.clocks import Clocks
from smart_meter.history.faults import DamagedError
from smart_meter.history.queries import check_identity
from smart_meter.history.read_only import ReadOnlyFile
from smart_meter.history.running_time import SECOND, Segment, microseconds
from smart_meter.log.audit.schema import APPLICATION_ID, PROBES, VERSION
from smart_meter.log.audit.text import harmless

WINDOW = 1000
"""Rows that are read at a time."""
_SELECT = "SELECT id, kind, client, meter, text, detail, count, first, last FROM events"
_Row = tuple[int, str, str, str, str, str, int, int, int]


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """A row: one event, or several that differ in numbers only. Its texts have no control characters."""

    id: int
    kind: str
    """The value of a `Kind`; a later release may have others."""
    client: str
    """An address, "*" for clients without a share of their own, or ""."""
    meter: str
    text: str
    detail: str
    count: int
    first: float
    """Unix seconds, by the Pi's wall clock at that time."""
    last: float

    def record(self) -> dict[str, int | str]:
        """Return it as an object for JSON, with its times in ISO 8601."""
        return {
            "id": self.id,
            "first": show_time(self.first, "milliseconds"),
            "last": show_time(self.last, "milliseconds"),
            "count": self.count,
            "kind": self.kind,
            "client": self.client,
            "meter": self.meter,
            "text": self.text,
            "detail": self.detail,
        }


def show_time(seconds: float, precision: str) -> str:
    """Return Unix seconds in ISO 8601. precision: "seconds" or "milliseconds"."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision)
    except (ValueError, OverflowError, OSError):
        # The clock was outside the years that datetime can express.
        return f"{seconds:.3f}"


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

    def events(
        self,
        since: timedelta | datetime | None = None,
        kinds: Collection[str] = (),
        client: str | None = None,
    ) -> Iterator[RecordedEvent]:
        """Yield the events whose last one happened since a time, in the order of their first one.

        A timedelta counts back from now if the file was written during this boot of this machine, otherwise
        from the newest event. A datetime is compared with the wall clock at the event. kinds: none for all.
        """
        running, wall = 0, -(2**63)
        if isinstance(since, timedelta):
            running = self._now() - int(since.total_seconds() * SECOND)
        elif since is not None:
            wall = microseconds(since.timestamp())
        values: list[int | str] = [running, wall, *kinds]
        conditions = ["running >= ?", "last >= ?"]
        if kinds:
            conditions.append(f"kind IN ({', '.join('?' * len(kinds))})")
        if client is not None:
            conditions.append("client = ?")
            values.append(client)
        query = f"{_SELECT} WHERE {' AND '.join(conditions)} AND id > ? ORDER BY id LIMIT ?"
        last = 0
        while rows := self._rows(query, *values, last, WINDOW):
            last = rows[-1][0]
            yield from map(_event, rows)

    def newest(self, count: int) -> list[RecordedEvent]:
        """Return the newest events, in the order of their first one."""
        return [_event(row) for row in self._rows(f"{_SELECT} ORDER BY id DESC LIMIT ?", count)][::-1]

    def _rows(self, query: str, *values: int | str) -> list[_Row]:
        return self._file.read(lambda connection: connection.execute(query, values).fetchall())

    def _now(self) -> int:
        """Return the running time now."""

        def read(connection: sqlite3.Connection) -> tuple[Segment | None, int]:
            found = connection.execute("SELECT boot, running, monotonic, wall FROM clock").fetchone()
            [(newest,)] = connection.execute("SELECT ifnull(max(running), 0) FROM events")
            return None if found is None else Segment(*found), newest

        segment, newest = self._file.read(read)
        if segment is not None and segment.boot == self._clocks.boot:
            return max(newest, microseconds(self._clocks.monotonic()) + segment.monotonic_offset)
        return newest


def _identify(connection: sqlite3.Connection) -> None:
    check_identity(connection, APPLICATION_ID, VERSION, PROBES, "an audit trail")


def _event(row: _Row) -> RecordedEvent:
    number, kind, client, meter, text, detail, count, first, last = row
    # Another program may have written the file.
    kind, client, meter = harmless(str(kind)), harmless(str(client)), harmless(str(meter))
    text, detail = harmless(str(text)), harmless(str(detail))
    try:
        return RecordedEvent(
            number, kind, client, meter, text, detail, int(count), first / SECOND, last / SECOND
        )
    except (TypeError, ValueError) as error:
        raise DamagedError(f"row {number} is not an event: {error}") from error
