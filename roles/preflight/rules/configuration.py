"""Check the rendered configuration with the program itself: only it has rules on zones, meters and registers.

The configuration is rendered as the role renders it and loaded as the program loads it. This module only
translates the keys of the program's errors into the inventory's variables.
"""

from __future__ import annotations

from collections.abc import Iterator

from roles.preflight.rules.problem import Key, Problem, parse_key, problem

from smart_meter.config import Config, ConfigError, loads
from smart_meter.config.settings import scalar_settings

# The variables whose name is not `concentrator_` and the key.
_PREFIXES = {"history": "concentrator_history_", "events": "concentrator_events_"}
_NAMES: dict[Key, str] = {("journal", "format"): "concentrator_log_format"}

VARIABLES: dict[Key, str] = {
    key: _NAMES.get(key, _PREFIXES.get(key[0], "concentrator_") + key[-1]) for key in scalar_settings(Config)
}
"""The inventory's variables by the key of the scalar setting that each sets."""

# The variables that the default zones are built from, field zone first.
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
    """Load a rendered configuration; yield the program's errors with the inventory's variables."""
    try:
        loads(rendered, "config.toml")
    except ConfigError as error:
        for each in error.problems:
            key = variable_of(parse_key(each.key), zones_are_default=zones_are_default)
            if key is None:
                yield problem(
                    "concentrator_meters", f"makes a configuration that {each.message} ({each.key})"
                )
            else:
                yield Problem(key, each.message)


def variable_of(key: Key, *, zones_are_default: bool) -> Key | None:
    """Return the inventory's key for a key of the program; None if it is not a key but a line number."""
    if key in VARIABLES:
        return (VARIABLES[key],)
    match key:
        case ("zones", int(index), str(name), *_) if zones_are_default and index < len(_DEFAULT_ZONES):
            return (_DEFAULT_ZONES[index].get(name, "concentrator_zones"),)
        case ("zones" | "meters" as table, *rest):
            return (f"concentrator_{table}", *rest)
    return None
