"""The concentrator's own opinion: every rule about zones, meters and registers lives in the program alone.

The host's configuration is rendered as the role would render it and loaded as the program would load it;
here its keys are only translated back into the variables that they came from.
"""

from __future__ import annotations

from collections.abc import Iterator

from roles.preflight.rules.problem import Key, Problem, parse_key, problem

from smart_meter.config import ConfigError, loads

_VARIABLES: dict[Key, str] = {
    ("name",): "concentrator_name",
    ("server", "host"): "concentrator_host",
    ("server", "port"): "concentrator_port",
    ("server", "max_connections"): "concentrator_max_connections",
    ("server", "max_connections_per_client"): "concentrator_max_connections_per_client",
    ("server", "idle_timeout"): "concentrator_idle_timeout",
    ("server", "frame_timeout"): "concentrator_frame_timeout",
    ("journal", "format"): "concentrator_log_format",
    ("journal", "statistics_interval"): "concentrator_statistics_interval",
    ("journal", "lines_per_second"): "concentrator_lines_per_second",
    ("history", "path"): "concentrator_history_path",
    ("history", "commit_interval"): "concentrator_history_commit_interval",
    ("history", "max_age_days"): "concentrator_history_max_age_days",
    ("history", "max_size_mib"): "concentrator_history_max_size_mib",
}

# The default zones are put together from these, field zone first.
_DEFAULT_ZONES: tuple[dict[str, str], ...] = tuple(
    {
        "peer": f"concentrator_{zone}_peer",
        "medium": f"concentrator_{zone}_medium",
        "interface": f"network_{zone}_interface",
        "address": f"network_{zone}_address",
        "network": f"network_{zone}_address",
    }
    for zone in ("field", "control")
)


def check_configuration(rendered: str, *, zones_are_default: bool) -> Iterator[Problem]:
    """Load a rendered configuration; yield what the program refuses, by the inventory's own variables."""
    try:
        loads(rendered, "config.toml")
    except ConfigError as error:
        for each in error.problems:
            key = variable_of(parse_key(each.key), zones_are_default=zones_are_default)
            if key is None:
                yield problem("concentrator_meters", f"with it the configuration {each.message} ({each.key})")
            else:
                yield Problem(key, each.message)


def variable_of(key: Key, *, zones_are_default: bool) -> Key | None:
    """Return the inventory's way to what the program calls `key`; None for what is no key, but a line."""
    if key in _VARIABLES:
        return (_VARIABLES[key],)
    match key:
        case ("zones", int(index), str(name), *_) if zones_are_default and index < len(_DEFAULT_ZONES):
            return (_DEFAULT_ZONES[index].get(name, "concentrator_zones"),)
        case ("zones" | "meters" as table, *rest):
            return (f"concentrator_{table}", *rest)
    return None
