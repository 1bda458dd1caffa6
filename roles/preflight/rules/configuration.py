"""The concentrator's own opinion: every rule about zones, meters and registers lives in the program alone.

The host's configuration is rendered as the role would render it and loaded as the program would load it;
here its keys are only translated back into the variables that they came from.
"""

from __future__ import annotations

from collections.abc import Iterator

from roles.preflight.rules.problem import Key, Problem, parse_key, problem

from smart_meter.config import Config, ConfigError, loads
from smart_meter.config.settings import scalar_settings

# Where the variable's name is not `concentrator_` and the key.
_PREFIXES = {"history": "concentrator_history_"}
_NAMES: dict[Key, str] = {("journal", "format"): "concentrator_log_format"}

VARIABLES: dict[Key, str] = {
    key: _NAMES.get(key, _PREFIXES.get(key[0], "concentrator_") + key[-1]) for key in scalar_settings(Config)
}
"""The inventory's variables by the key of the scalar setting that each sets."""

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
    if key in VARIABLES:
        return (VARIABLES[key],)
    match key:
        case ("zones", int(index), str(name), *_) if zones_are_default and index < len(_DEFAULT_ZONES):
            return (_DEFAULT_ZONES[index].get(name, "concentrator_zones"),)
        case ("zones" | "meters" as table, *rest):
            return (f"concentrator_{table}", *rest)
    return None
