"""Changes that a reload can't make: those that need a restart, or that also affect the firewall, the
service's unit or NetworkManager's profiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from roles.preflight.rules.configuration import variable_of
from roles.preflight.rules.problem import Key, Problem

from smart_meter.config import Config, ConfigError, ZoneConfig, loads

_DATA = PurePosixPath("/var/lib/smart-meter")


def beyond_a_reload(before: str, after: str, host: str, *, zones_are_default: bool) -> list[Problem]:
    """Return the changes from `before` to `after` that need provisioning, with the inventory's variables.

    before: the Pi's configuration; if it is missing or damaged, there is nothing to compare.
    """
    try:
        had, wanted = loads(before, "config.toml"), loads(after, "config.toml")
    except ConfigError:
        return []
    problems = []
    for key, old, new in _changes(had, wanted):
        variable = variable_of(key, zones_are_default=zones_are_default) or ("concentrator_zones",)
        message = (
            f"is {new}, and the Pi has {old}: a reload can't change that; run make provision LIMIT={host}"
        )
        problem = Problem(variable, message)
        if problem not in problems:
            problems.append(problem)
    return problems


def _changes(had: Config, wanted: Config) -> Iterator[tuple[Key, str, str]]:
    for name in ("host", "port"):
        old, new = getattr(had.server, name), getattr(wanted.server, name)
        if old != new:
            yield ("server", name), str(old), str(new)
    for table, old, path in (
        ("history", had.history.path, wanted.history.path),
        ("events", had.events.path, wanted.events.path),
    ):
        if path and PurePosixPath(path).parent not in _writable(had):
            yield (table, "path"), old or "none", path
    zones = {zone.name: zone for zone in had.zones}
    for index, zone in enumerate(wanted.zones):
        if zone.name not in zones:
            yield ("zones", index, "name"), "no such zone", zone.name
        else:
            yield from (
                (("zones", index, *key), old, new) for key, old, new in _zone_changes(zones[zone.name], zone)
            )


def _writable(config: Config) -> set[PurePosixPath]:
    """Return the folders that may hold these files: the unit lets the service write only there."""
    paths = config.history.path, config.events.path
    return {_DATA, *(PurePosixPath(path).parent for path in paths if path)}


def _zone_changes(had: ZoneConfig, wanted: ZoneConfig) -> Iterator[tuple[Key, str, str]]:
    for name in ("interface", "address"):
        old, new = getattr(had, name), getattr(wanted, name)
        if old != new:
            yield (name,), str(old), str(new)
    # A reload can admit fewer clients than the firewall and the unit do, but not more.
    if not wanted.network.subnet_of(had.network):
        yield ("network",), str(had.network), str(wanted.network)
