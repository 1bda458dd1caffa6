"""`smart-meter events`: print the audit trail, in constant memory, or add an event to it."""

from __future__ import annotations

import argparse
import csv
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from smart_meter.cli.commands import events_add
from smart_meter.cli.target import ArgumentsError
from smart_meter.config import ConfigError, load
from smart_meter.history.faults import DamagedError, explain
from smart_meter.log.audit.reader import Reader, RecordedEvent, show_time

DEFAULT_CONFIG = Path("/etc/smart-meter/config.toml")
_HEAD = ("First", "Last", "Count", "Kind", "Client", "Meter", "Event")


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if it was done, 1 if it failed, 2 for invalid configuration or arguments."""
    if arguments.action is not None:
        return events_add.execute(arguments)
    path = ""
    try:
        path = _path(arguments)
        with closing(Reader(path)) as reader:
            _FORMATS[arguments.format](reader.events(arguments.since, arguments.kind, arguments.client))
    except (ConfigError, ArgumentsError) as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (sqlite3.Error, OSError, DamagedError) as error:
        sys.stdout.flush()
        print(f"smart-meter: {path}: {_explain(error, path)}", file=sys.stderr)
        return 1
    return 0


def _path(arguments: argparse.Namespace) -> str:
    if arguments.path is not None:
        return str(arguments.path)
    config = arguments.config
    if config is None:
        config = DEFAULT_CONFIG
        try:
            config.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ArgumentsError(f"there is no {config}; give --config FILE or --path FILE") from error
        except OSError as error:
            raise ArgumentsError(f"{config}: {error.strerror}; use sudo, or give --path FILE") from error
    path = load(config).events.path
    if not path:
        raise ArgumentsError(
            f'{config}: events.path is "", so there is no audit trail; set it, or give --path FILE'
        )
    return path


def _explain(error: Exception, path: str) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; the service creates it when it starts with this events.path"
    if isinstance(error, PermissionError):
        return "this user may not read it; use sudo"
    if isinstance(error, sqlite3.Error):
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN:
            return "this user may not read it, or its folder with the -wal file; use sudo, or copy both files"
        return f"{explain(error, path)}; the events that could be read were printed"
    return explain(error, path)


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
