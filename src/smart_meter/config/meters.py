"""Reads the meters: their unit identifiers, freshness, and who may do what with them."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from smart_meter.config.measurements import read_measurements
from smart_meter.config.model import (
    MAX_UNIT_ID,
    Access,
    AccessRule,
    Config,
    MeterConfig,
    ZoneConfig,
)
from smart_meter.config.names import IDENTIFIER, IDENTIFIER_HINT, check_unique
from smart_meter.config.settings import all_valid, read_values, settings_of
from smart_meter.config.toml_table import Table, one_of, show
from smart_meter.modbus.functions import FUNCTIONS
from smart_meter.registers.register_map import PV_MAP, RegisterMap


def read_meters(root: Table, zones: tuple[ZoneConfig, ...]) -> tuple[MeterConfig, ...]:
    """Return the meters that could be read; what is wrong with the others is noted."""
    tables = root.tables("meters")
    if tables is None:
        return Config().meters
    meters = [_read_meter(table, zones) for table in tables]
    check_unique(tables, "name", fold=True)
    seen: dict[int, str] = {}
    for table in tables:
        unit_id = table.data.get("unit_id")
        if type(unit_id) is not int:
            continue
        if unit_id in seen:
            taken = f"{unit_id} is already the unit identifier of meter {seen[unit_id]}"
            table.problem("unit_id", f"{taken}; give each meter its own (1 to {MAX_UNIT_ID})")
        seen.setdefault(unit_id, show(table.data.get("name", table.path)))
    return tuple(meter for meter in meters if meter is not None)


def _read_meter(table: Table, zones: tuple[ZoneConfig, ...]) -> MeterConfig | None:
    settings = settings_of(MeterConfig)
    values = read_values(table, settings, MeterConfig._field_defaults)
    rules = _read_rules(table, zones)
    tables = table.tables("measurements")
    table.close()
    measurements = PV_MAP.measurements if tables is None else read_measurements(tables)
    if not all_valid(settings, values):
        return None
    return MeterConfig(map=RegisterMap(measurements), access=rules, **values)


def _read_rules(table: Table, zones: tuple[ZoneConfig, ...]) -> tuple[AccessRule, ...]:
    tables = table.tables("access")
    if tables is None:
        return ()
    rules = [rule for rule in (_read_rule(entry, zones) for entry in tables) if rule is not None]
    if len(rules) == len(tables) and not any(rule.access.writes for rule in rules):
        table.problem(
            "access", 'nobody may write, so no value would arrive; give one rule access = "read-write"'
        )
    return tuple(rules)


def _read_rule(table: Table, zones: tuple[ZoneConfig, ...]) -> AccessRule | None:
    before = len(table.problems)
    names = [zone.name for zone in zones]
    # If no zone could be read, that is the problem, and not the rule.
    zone_name = (
        table.choice("zone", "", names) if names else table.text("zone", "", IDENTIFIER, IDENTIFIER_HINT)
    )
    settings = {"access": settings_of(AccessRule)["access"]}
    access = read_values(table, settings, AccessRule._field_defaults)["access"]
    zone = next((zone for zone in zones if zone.name == zone_name), None)
    clients = [
        _read_client(table, index, entry, zone) for index, entry in enumerate(_listed(table, "clients"))
    ]
    functions = _read_functions(table, access)
    table.close()
    if len(table.problems) > before or zone_name is None or access is None:
        return None
    return AccessRule(zone_name, tuple(client for client in clients if client), access, functions)


def _listed(table: Table, name: str) -> list[Any]:
    return table.listing(name, settings_of(AccessRule)[name].hint)


def _read_client(table: Table, index: int, entry: object, zone: ZoneConfig | None) -> IPv4Network | None:
    key = f"clients[{index}]"
    hint = 'an address or a network of the zone, such as "192.168.1.50" or "192.168.1.48/29"'
    try:
        network = IPv4Network(entry) if isinstance(entry, str) else None
    except ValueError:
        network = None
    if network is None:
        table.problem("clients", f"{show(entry)} ({key}) is not an IPv4 address or network; give {hint}")
    elif zone is not None and not network.subnet_of(zone.network):
        table.problem(
            "clients", f"{show(entry)} ({key}) is not in the zone's network {zone.network}; give {hint}"
        )
    return network


def _read_functions(table: Table, access: Access | None) -> frozenset[int]:
    known = sorted(int(code) for code in FUNCTIONS)
    hint = f"a list of function codes out of {', '.join(map(str, known))}"
    functions: set[int] = set()
    for entry in table.listing("functions", hint):
        if type(entry) is not int or entry not in FUNCTIONS:
            table.problem("functions", f"{show(entry)} is not a supported function code; give {hint}")
            continue
        functions.add(entry)
        function = FUNCTIONS[entry]
        if access is None:
            continue
        if (function.writes and not access.writes) or (function.reads and not access.reads):
            enough = [choice.value for choice in Access if _covers(choice, function.reads, function.writes)]
            table.problem(
                "functions",
                f"{entry} takes more than access {show(access.value)}; give access {one_of(enough)}",
            )
    return frozenset(functions)


def _covers(access: Access, reads: object, writes: object) -> bool:
    return (not reads or access.reads) and (not writes or access.writes)
