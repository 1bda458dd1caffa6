"""`smart-meter history`: print the recorded samples, in constant memory.

One table holds all meters and all their register maps over time: its columns are the measurements of every
map in the selection, named `NAME [UNIT]`, and a row has values only in the columns of its own map. So a
measurement with a new name or unit is a new column; one with a new scale is not, as values are in their unit.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from smart_meter.cli.commands.history_copy import copy_history
from smart_meter.cli.recorded_file import find_path, read_file
from smart_meter.cli.target import ArgumentsError
from smart_meter.history.reader import Reader, RecordedMeter, RecordedSample, Selection
from smart_meter.meters.sample import iso_time
from smart_meter.registers.register_map import Measurement

DEFAULT_CONFIG = Path("/etc/smart-meter/config.toml")
Column = tuple[str, str]
"""Name and unit of a measurement."""


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if the rows were printed, 1 if reading failed, 2 for invalid configuration or arguments."""
    return read_file(
        lambda: find_path(
            arguments,
            DEFAULT_CONFIG,
            lambda config: config.history.path,
            'history.path is "", so nothing is recorded',
        ),
        lambda path: _read(arguments, path),
        key="history.path",
        content="rows",
    )


def _read(arguments: argparse.Namespace, path: str) -> int:
    if arguments.action is not None:
        return copy_history(arguments.action, path, arguments.copy)
    with closing(Reader(path)) as reader:
        _check_meter(arguments.meter, reader)
        selection = reader.select(arguments.meter, arguments.since)
        _FORMATS[arguments.format](selection, reader.rows(selection))
    return 0


def _check_meter(name: str | None, reader: Reader) -> None:
    if name is not None and name not in (names := reader.names()):
        known = f"give one of {', '.join(names)}" if names else "it has none at all yet"
        raise ArgumentsError(f"--meter {name}: {reader.path} has no samples of this meter; {known}")


def _table(selection: Selection, rows: Iterator[RecordedSample]) -> None:
    columns = _columns(selection)
    meters = [meter.name for meter in selection.meters.values()]
    widths = [29, 25, max(map(len, ["Meter", *meters])), *(max(len(_title(c)), 8) for c in columns)]

    def line(cells: Iterable[str]) -> str:
        # Numbers are right-aligned with their titles.
        padded = [cell.rjust(w) if n > 2 else cell.ljust(w) for n, (cell, w) in enumerate(zip(cells, widths))]  # noqa: B905 - the last cell has no width
        return "  ".join(padded)

    print(line(["Arrived", "Measured", "Meter", *map(_title, columns)]) + "  Out of range")
    cells = _Cells(columns, Measurement.format_number)
    for row in rows:
        text = line([_arrived(row), _measured(row) or "-", row.meter.name, *cells.of(row)])
        sys.stdout.write(f"{text}  {', '.join(row.out_of_range)}".rstrip() + "\n")


def _csv(selection: Selection, rows: Iterator[RecordedSample]) -> None:
    columns = _columns(selection)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["id", "arrived", "measured", "meter", *map(_title, columns), "out_of_range"])
    cells = _Cells(columns, lambda _, value: str(value) if isinstance(value, int) else f"{value:.12g}")
    for row in rows:
        out = " ".join(row.out_of_range)
        writer.writerow([row.id, _arrived(row), _measured(row), row.meter.name, *cells.of(row), out])


def _json(_: Selection, rows: Iterator[RecordedSample]) -> None:
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    fingerprints: dict[int, str] = {}
    for row in rows:
        meter = row.meter
        fingerprint = fingerprints.setdefault(meter.id, "") or meter.map.fingerprint
        fingerprints[meter.id] = fingerprint
        record = {
            "id": row.id,
            "arrived": _arrived(row),
            "measured": _measured(row) or None,
            "meter": meter.name,
            "unit_id": meter.unit_id,
            "map": fingerprint,
            # JSON has no NaN and no infinity.
            "values": {
                name: None if value is None or not math.isfinite(value) else value
                for name, value in row.values.items()
            },
            "out_of_range": row.out_of_range,
            "client": row.client,
        }
        sys.stdout.write(encode(record) + "\n")


_FORMATS: dict[str, Callable[[Selection, Iterator[RecordedSample]], None]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
}


class _Cells:
    """Formats a row's values, one cell per column; the columns of other maps stay empty."""

    def __init__(self, columns: list[Column], show: Callable[[Measurement, float], str]) -> None:
        self._columns = columns
        self._show = show
        self._places: dict[int, list[Measurement | None]] = {}

    def of(self, row: RecordedSample) -> list[str]:
        """Return the text of each column's cell."""
        places = self._places.get(row.meter.id)
        if places is None:
            own = {(m.name, m.unit): m for m in _measurements(row.meter)}
            places = self._places[row.meter.id] = [own.get(column) for column in self._columns]
        show, values = self._show, row.values
        return ["" if m is None or (value := values[m.name]) is None else show(m, value) for m in places]


def _measurements(meter: RecordedMeter) -> list[Measurement]:
    timestamp = meter.map.timestamp
    return [m for m in meter.map.measurements if m is not timestamp]


def _columns(selection: Selection) -> list[Column]:
    return list({(m.name, m.unit): None for one in selection.meters.values() for m in _measurements(one)})


def _title(column: Column) -> str:
    name, unit = column
    return f"{name} [{unit}]" if unit else name


def _arrived(row: RecordedSample) -> str:
    try:
        return datetime.fromtimestamp(row.arrived, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        # The clock was outside the years that datetime can express.
        return f"{row.arrived:.3f}"


def _measured(row: RecordedSample) -> str:
    return "" if row.measured is None else iso_time(row.measured)
