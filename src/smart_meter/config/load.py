"""Loads a configuration file."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from pathlib import Path

from smart_meter.config.meters import read_meters
from smart_meter.config.model import (
    Config,
    ConfigError,
    HistoryConfig,
    JournalConfig,
    LogFormat,
    ServerConfig,
)
from smart_meter.config.names import ANY_TEXT, LABEL, LABEL_HINT
from smart_meter.config.toml_table import ConfigProblem, Table, parse_toml, read_toml, show
from smart_meter.config.zones import read_zones

MAX_CONNECTIONS = 8000
"""The unit's limit is 8192 file descriptors, and the service needs some for itself."""


def load(path: Path | str) -> Config:
    """Return the configuration in a file. Raises ConfigError with every problem."""
    problems: list[ConfigProblem] = []
    text = read_toml(Path(path), problems)
    if text is None:
        raise ConfigError(problems)
    return loads(text, str(path))


def loads(text: str, source: str) -> Config:
    """Return the configuration in a TOML text. Raises ConfigError with every problem.

    source: the file's name in the messages.
    """
    problems: list[ConfigProblem] = []
    data = parse_toml(text, source, problems)
    if data is None:
        raise ConfigError(problems)
    root = Table(source, "", data, problems)
    name = root.text("name", "RPI#1", LABEL, LABEL_HINT)
    server = _read_server(root.table("server"))
    journal = _read_journal(root.table("journal"))
    history = _read_history(root.table("history"))
    zones = read_zones(root)
    meters = read_meters(root, zones)
    root.close()
    if problems or name is None or server is None or journal is None or history is None:
        raise ConfigError(problems)
    return Config(name, server, journal, history, zones, meters)


def _read_server(table: Table) -> ServerConfig | None:
    default = ServerConfig()
    hint = "an address of this machine, or 0.0.0.0 for all of them"
    host = table.text("host", default.host, ANY_TEXT, hint)
    port = table.integer("port", default.port, 1, 65535)
    connections = table.integer("max_connections", default.max_connections, 1, MAX_CONNECTIONS)
    per_client = table.integer(
        "max_connections_per_client", default.max_connections_per_client, 1, MAX_CONNECTIONS
    )
    idle_timeout = table.seconds(
        "idle_timeout", default.idle_timeout, 1, 604800, "to keep idle connections open"
    )
    frame_timeout = table.number(
        "frame_timeout", default.frame_timeout, 0.1, 3600, "seconds from 0.1 to 3600"
    )
    table.close()
    if host is not None:
        try:
            address = ip_address(host)
        except ValueError:
            table.problem("host", f"{show(host)} is not an IP address; give {hint}")
            return None
        if address.is_multicast or address == IPv4Address("255.255.255.255"):
            table.problem("host", f"{show(host)} is not the address of a host; give {hint}")
    if None in (host, port, connections, per_client, idle_timeout, frame_timeout):
        return None
    return ServerConfig(host, port, connections, per_client, idle_timeout, frame_timeout)  # type: ignore[arg-type]  # None is ruled out above


def _read_journal(table: Table) -> JournalConfig | None:
    default = JournalConfig()
    log_format = table.choice("format", default.format.value, [f.value for f in LogFormat])
    interval = table.seconds(
        "statistics_interval", default.statistics_interval, 0.1, 86400, "for only one line, at the end"
    )
    lines = table.number(
        "lines_per_second", default.lines_per_second, 0, 10000, "lines from 0 (only summaries) to 10000"
    )
    table.close()
    if log_format is None or interval is None or lines is None:
        return None
    return JournalConfig(LogFormat(log_format), interval, lines)


def _read_history(table: Table) -> HistoryConfig | None:
    default = HistoryConfig()
    hint = 'an absolute path, such as "/var/lib/smart-meter/history.db", or "" for no history'
    path = table.text("path", default.path, ANY_TEXT, hint)
    if path and (not path.startswith("/") or path.endswith("/")):
        table.problem("path", f"{show(path)} is not an absolute path of a file; give {hint}")
    interval = table.seconds(
        "commit_interval",
        default.commit_interval,
        0.01,
        3600,
        "to acknowledge each write only when it is on disk",
    )
    age = table.number("max_age_days", default.max_age_days, 1 / 24, 36500, "days from 0.042 to 36500")
    size = table.number("max_size_mib", default.max_size_mib, 1, 1048576, "MiB from 1 to 1048576")
    table.close()
    if path is None or interval is None or age is None or size is None:
        return None
    return HistoryConfig(path, interval, age, size)
