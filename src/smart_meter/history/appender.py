"""Appends the rows of a file that a restored copy has replaced."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple
from urllib.parse import quote

from smart_meter.config import MeterConfig
from smart_meter.history import running_time
from smart_meter.history.database import Database
from smart_meter.history.maps import parse
from smart_meter.history.queries import is_extended
from smart_meter.history.running_time import SECOND, Segment
from smart_meter.history.sample_queue import QueuedSample
from smart_meter.registers.layout import Layout

CHUNK = 2000
"""Rows in one commit."""
_APPENDED = "appended"


class UnreadableError(Exception):
    """The rows to be appended can't be read."""


class _Chunk(NamedTuple):
    """Rows of one segment."""

    segment: Segment
    begins: bool
    """Whether they are the segment's first."""
    samples: list[QueuedSample]
    last: int
    """The id of the last of them."""


def append(database: Database, path: str) -> int:
    """Append the rows of another file; return how many. A call that was interrupted is continued by the next.

    Rows that the copy has as well are left out: those of a generation that it has, too.

    Raises sqlite3.Error, or UnreadableError.
    """
    uri = f"file://{quote(path)}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True)) as source:
        meters: dict[int, MeterConfig] = {}
        count = 0
        for chunk in _readable(_chunks(source, meters, database)):
            with database.transaction():
                if chunk.begins or database.segment is None:
                    previous = database.segment or database.last_segment
                    first = int(chunk.samples[0][1] * SECOND)
                    wall = first + chunk.segment.monotonic_offset + chunk.segment.wall_offset
                    database.begin_segment(
                        running_time.first_segment(
                            previous, database.running, chunk.segment.boot, first, wall
                        )
                    )
                size = max(len(sample[4]) for sample in chunk.samples)
                database.make_room(len(chunk.samples), size, [chunk.samples])
                database.insert(chunk.samples, meters)
                database.keep_progress({_APPENDED: chunk.last})
            count += len(chunk.samples)
    with database.transaction():
        database.keep_progress({_APPENDED: 0})
    return count


def _generation(source: sqlite3.Connection) -> int:
    """Return the generation of the newest rows; 0 if the file has none."""
    if not is_extended(source):
        return 0
    [(generation,)] = source.execute("SELECT generation FROM generations ORDER BY first DESC LIMIT 1")
    return int(generation)


def _readable(chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
    try:
        yield from chunks
    except (sqlite3.DatabaseError, ValueError, KeyError) as error:
        raise UnreadableError(str(error)) from error


def _chunks(
    source: sqlite3.Connection, meters: dict[int, MeterConfig], database: Database
) -> Iterator[_Chunk]:
    after = database.progress(_APPENDED) or database.last_of_generation(_generation(source))
    found = source.execute(
        "SELECT meters.id, name, unit_id, definition FROM meters JOIN maps ON maps.id = map"
    )
    for key, name, unit, definition in found.fetchall():
        meters[key] = MeterConfig(name, unit, parse(definition))
    segments = [
        (first, Segment(*rest))
        for first, *rest in source.execute(
            "SELECT first, boot, running, monotonic, wall FROM clock ORDER BY first"
        )
    ]
    layouts = {key: Layout(meter.map) for key, meter in meters.items()}
    client = "client" if is_extended(source) else "NULL"
    ends = [first for first, _ in segments[1:]] + [2**63 - 1]
    for (first, segment), end in zip(segments, ends, strict=True):
        low, begins = max(first, after + 1), True
        while True:
            rows = source.execute(
                f"SELECT id, meter, running, measured, flags, registers, {client} FROM samples "  # noqa: S608 - our column
                "WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (low, end, CHUNK),
            ).fetchall()
            if not rows:
                break
            samples = []
            for _, key, running, measured, flags, registers, sender in rows:
                layout = layouts[key]
                # The first release stored the whole span.
                packed = layout.pack(registers) if len(registers) == layout.span_size else registers
                arrived = (running - segment.monotonic_offset) / SECOND
                samples.append((key, arrived, measured, flags, packed, sender or 0))
            yield _Chunk(segment, begins, samples, rows[-1][0])
            low, begins = rows[-1][0] + 1, False
