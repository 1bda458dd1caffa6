"""`smart-meter events`: print the audit trail, in constant memory, or add an event to it."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from smart_meter.cli.commands import events_add
from smart_meter.cli.recorded_file import find_path, read_file
from smart_meter.log.audit.reader import Reader, RecordedEvent, show_time

DEFAULT_CONFIG = Path("/etc/smart-meter/config.toml")
_HEAD = ("First", "Last", "Count", "Kind", "Client", "Meter", "Event")


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if it was done, 1 if it failed, 2 for invalid configuration or arguments."""
    if arguments.action is not None:
        return events_add.execute(arguments)
    return read_file(
        lambda: find_path(
            arguments,
            DEFAULT_CONFIG,
            lambda config: config.events.path,
            'events.path is "", so there is no audit trail',
        ),
        lambda path: _read(arguments, path),
        key="events.path",
        content="events",
    )


def _read(arguments: argparse.Namespace, path: str) -> int:
    with closing(Reader(path)) as reader:
        _FORMATS[arguments.format](reader.events(arguments.since, arguments.kind, arguments.client))
    return 0


def _table(events: Iterator[RecordedEvent]) -> None:
    widths = (25, 25, 7, 14, 15, 8)

    def line(cells: tuple[str, ...]) -> str:
        padded = [cell.rjust(w) if w == 7 else cell.ljust(w) for cell, w in zip(cells, widths)]  # noqa: B905 - the last cell has no width
        return "  ".join([*padded, cells[-1]]).rstrip()

    print(line(_HEAD))
    for event in events:
        text = f"{event.text} ({event.detail})" if event.detail else event.text
        last = show_time(event.last, "seconds") if event.count > 1 else ""
        first = show_time(event.first, "seconds")
        cells = (first, last, str(event.count), event.kind, event.client or "-", event.meter or "-", text)
        sys.stdout.write(line(cells) + "\n")


def _csv(events: Iterator[RecordedEvent]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["id", "first", "last", "count", "kind", "client", "meter", "text", "detail"])
    for event in events:
        writer.writerow(event.record().values())


def _json(events: Iterator[RecordedEvent]) -> None:
    for event in events:
        sys.stdout.write(json.dumps(event.record(), ensure_ascii=False, separators=(",", ":")) + "\n")


_FORMATS: dict[str, Callable[[Iterator[RecordedEvent]], None]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
}
