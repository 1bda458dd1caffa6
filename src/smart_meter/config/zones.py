"""Reads the zones: networks, this Pi's addresses in them, and what their clients may do."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from smart_meter.config.model import CONTROL_ZONE, FIELD_ZONE, Access, ZoneConfig
from smart_meter.config.names import check_unique
from smart_meter.config.settings import read_values, settings_of
from smart_meter.config.toml_table import Table, show

LOOPBACK = IPv4Network("127.0.0.0/8")
DEFAULT_ZONES = (FIELD_ZONE, CONTROL_ZONE)


def read_zones(root: Table) -> tuple[ZoneConfig, ...]:
    """Return the valid zones; the problems of the others are added to their tables."""
    before = len(root.problems)
    tables = root.tables("zones")
    if tables is None:
        return DEFAULT_ZONES
    zones = [_read_zone(table) for table in tables]
    check_unique(tables, "name", fold=False)
    check_unique(tables, "peer", fold=True)
    for index, zone in enumerate(zones):
        if zone is None:
            continue
        for earlier_table, earlier in zip(tables[:index], zones[:index], strict=True):
            if earlier is None:
                continue
            if zone.address == earlier.address:
                taken = f"{zone.address} is already the address in {earlier_table.path} ({earlier.name})"
                tables[index].problem("address", f"{taken}; give each zone its own")
            if zone.network.overlaps(earlier.network):
                shared = f"{zone.network} overlaps {earlier.network} of {earlier_table.path} ({earlier.name})"
                tables[index].problem("network", f"{shared}; a client's network must decide for one zone")
    writable = any(zone is not None and zone.access is Access.READ_WRITE for zone in zones)
    if not writable and len(root.problems) == before:
        root.problem("zones", 'no zone may write, so no value would arrive; give one access = "read-write"')
    return tuple(zone for zone in zones if zone is not None)


def _read_zone(table: Table) -> ZoneConfig | None:
    defaults = {"medium": "Ethernet", "access": Access.READ}
    values = read_values(table, settings_of(ZoneConfig), defaults)
    table.close()
    peer = values["peer"]
    if peer is not None and peer.upper() == "LOCALHOST":
        table.problem("peer", f"{show(peer)} stands for this machine's own programs; give another name")
    network = _read_network(table, values["network"])
    address = _read_address(table, values["address"], network)
    values |= {"network": network, "address": address}
    return None if None in values.values() else ZoneConfig(**values)


def _read_network(table: Table, text: str | None) -> IPv4Network | None:
    hint = settings_of(ZoneConfig)["network"].hint
    if text is None:
        return None
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        table.problem("network", f"{show(text)} is not an IPv4 network; give {hint}")
        return None
    wrong = ""
    if "/" not in text or network.prefixlen == 32:
        wrong = "is a single address; give the network with its prefix length, such as 192.168.1.0/24"
    elif IPv4Address(text.partition("/")[0]) != network.network_address:
        wrong = f"has host bits set; give {show(str(network))}"
    elif network.overlaps(LOOPBACK):
        wrong = f"overlaps {LOOPBACK}, this machine's own loopback; give the zone's own network"
    elif network.network_address.is_multicast or network.overlaps(IPv4Network("240.0.0.0/4")):
        wrong = f"holds no hosts' addresses; give {hint}"
    if wrong:
        table.problem("network", f"{show(text)} {wrong}")
        return None
    return network


def _read_address(table: Table, text: str | None, network: IPv4Network | None) -> IPv4Address | None:
    hint = settings_of(ZoneConfig)["address"].hint
    if text is None:
        return None
    try:
        address = IPv4Address(text)
    except ValueError:
        table.problem("address", f"{show(text)} is not an IPv4 address; give {hint}, without a prefix length")
        return None
    if network is None:
        return address
    wrong = ""
    if address not in network:
        wrong = f"is not in the zone's network {network}; give an address within it"
    elif network.prefixlen < 31 and address == network.network_address:
        wrong = f"is the network's own address in {network}; give a host's"
    elif network.prefixlen < 31 and address == network.broadcast_address:
        wrong = f"is the broadcast address of {network}; give a host's"
    if wrong:
        table.problem("address", f"{address} {wrong}")
        return None
    return address
