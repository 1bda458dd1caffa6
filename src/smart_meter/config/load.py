"""Reads a configuration file."""

from __future__ import annotations

import os
from pathlib import Path

from smart_meter.config.meters import read_meters
from smart_meter.config.model import (
    Config,
    ConfigError,
    EventsConfig,
    HistoryConfig,
    JournalConfig,
    ServerConfig,
)
from smart_meter.config.settings import read_record, read_values, settings_of
from smart_meter.config.toml_table import Problem, Table, parse_toml, read_toml, show
from smart_meter.config.zones import read_zones


def load(path: Path | str) -> Config:
    """Return the configuration in a file; raises ConfigError with every problem at once."""
    problems: list[Problem] = []
    text = read_toml(Path(path), problems)
    if text is None:
        raise ConfigError(problems)
    return loads(text, str(path))


def loads(text: str, source: str) -> Config:
    """Return the configuration in a text; `source` names it in the problems. Raises ConfigError."""
    problems: list[Problem] = []
    data = parse_toml(text, source, problems)
    if data is None:
        raise ConfigError(problems)
    root = Table(source, "", data, problems)
    name = read_values(root, settings_of(Config), Config._field_defaults)["name"]
    server = read_record(root.table("server"), ServerConfig)
    journal = read_record(root.table("journal"), JournalConfig)
    history = read_record(root.table("history"), HistoryConfig)
    table = root.table("events")
    events = read_record(table, EventsConfig)
    if history is not None and events is not None and events.path and _is_same(events.path, history.path):
        table.problem("path", f"{show(events.path)} is the history's file; give the events one of their own")
    zones = read_zones(root)
    meters = read_meters(root, zones)
    root.close()
    if problems or name is None or server is None or journal is None or history is None or events is None:
        raise ConfigError(problems)
    return Config(name, server, journal, history, events, zones, meters)


def _is_same(path: str, other: str) -> bool:
    return bool(other) and os.path.realpath(path) == os.path.realpath(other)
