"""Reads the meters: unit identifiers, freshness, and access rules."""

from __future__ import annotations

from ipaddress import IPv4Network, collapse_addresses
from typing import Any

from smart_meter.config.measurements import read_measurements
from smart_meter.config.model import (
    MAX_UNIT_ID,
    Access,
    AccessRule,
    Config,
    MeterConfig,
    OnStale,
    ZoneConfig,
)
from smart_meter.config.names import IDENTIFIER, IDENTIFIER_HINT, check_unique
from smart_meter.config.settings import all_valid, read_values, settings_of
from smart_meter.config.toml_table import Table, one_of, show
from smart_meter.modbus.functions import FUNCTIONS
from smart_meter.registers.register_map import PV_MAP, RegisterMap


def read_meters(root: Table, zones: tuple[ZoneConfig, ...]) -> tuple[MeterConfig, ...]:
    """Return the valid meters; the problems of the others are added to their tables."""
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
    sentinels = values["on_stale"] is OnStale.SENTINEL
    measurements = PV_MAP.measurements if tables is None else read_measurements(tables, sentinels=sentinels)
    if not all_valid(settings, values):
        return None
    return MeterConfig(map=RegisterMap(measurements), access=rules, **values)


def _read_rules(table: Table, zones: tuple[ZoneConfig, ...]) -> tuple[AccessRule, ...]:
    tables = table.tables("access")
    if tables is None:
        return ()
    read = [_read_rule(entry, zones) for entry in tables]
    rules = [rule for rule in read if rule is not None]
    _check_order(tables, read, {zone.name: zone.network for zone in zones})
    if len(rules) == len(tables) and not any(rule.access.writes for rule in rules):
        table.problem(
            "access", 'nobody may write, so no value would arrive; give one rule access = "read-write"'
        )
    return tuple(rules)


def _check_order(
    tables: list[Table], rules: list[AccessRule | None], networks: dict[str, IPv4Network]
) -> None:
    """Note each rule that decides for no client, since the rules before it decide for all of its own."""
    decided: dict[str, list[tuple[str, IPv4Network]]] = {zone: [] for zone in networks}
    for table, rule in zip(tables, rules, strict=True):
        if rule is None or rule.zone not in networks:
            continue
        earlier = decided[rule.zone]
        own = rule.clients or (networks[rule.zone],)
        covered = list(collapse_addresses(network for _, network in earlier))
        if all(any(one.subnet_of(network) for network in covered) for one in own):
            deciding = dict.fromkeys(
                name for name, network in earlier if any(network.overlaps(one) for one in own)
            )
            key = "clients" if rule.clients else "zone"
            whose = "all of these clients" if rule.clients else f"all of zone {rule.zone}"
            table.problem(
                key,
                f"{show(table.data[key])} is never reached: {' and '.join(deciding)} already "
                f"decide{'s' * (len(deciding) == 1)} for {whose}; put this rule first, or remove it",
            )
        # Within the meter, so that the name fits an inventory as well.
        earlier += [(table.path.rpartition(".")[2], one) for one in own]


def _read_rule(table: Table, zones: tuple[ZoneConfig, ...]) -> AccessRule | None:
    before = len(table.problems)
    names = [zone.name for zone in zones]
    # If no zone is valid, that is the problem, not the rule.
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
    elif zone is not None and network == IPv4Network(zone.address):
        table.problem("clients", f"{show(entry)} ({key}) is this Pi's own address; give {hint}")
    elif zone is not None and network in _no_hosts(zone.network):
        table.problem("clients", f"{show(entry)} ({key}) is not a host's address; give {hint}")
    return network


def _no_hosts(network: IPv4Network) -> tuple[IPv4Network, ...]:
    """Return a network's own address and its broadcast address, which no host has."""
    if network.prefixlen >= 31:
        return ()
    return IPv4Network(network.network_address), IPv4Network(network.broadcast_address)


def _read_functions(table: Table, access: Access | None) -> frozenset[int]:
    known = sorted(int(code) for code in FUNCTIONS)
    hint = f"a list of function codes out of {', '.join(map(str, known))}"
    functions: set[int] = set()
    before = len(table.problems)
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
    writing = [code for code in known if FUNCTIONS[code].writes]
    fits = len(table.problems) == before
    if fits and access is not None and access.writes and functions and functions.isdisjoint(writing):
        codes = ", ".join(map(str, writing))
        fault = (
            f"has no function code that writes ({codes}), so access {show(access.value)} lets nobody write"
        )
        instead = f"add one, or give access {show('read' if access.reads else 'none')}"
        table.problem("functions", f"{show(sorted(functions))} {fault}; {instead}")
    return frozenset(functions)


def _covers(access: Access, reads: object, writes: object) -> bool:
    return (not reads or access.reads) and (not writes or access.writes)
