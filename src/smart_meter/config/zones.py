"""Reads the zones: networks, this Pi's addresses in them, and what their clients may do."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network

from smart_meter.config.model import CONTROL_ZONE, FIELD_ZONE, Access, ZoneConfig
from smart_meter.config.names import ANY_TEXT, IDENTIFIER, IDENTIFIER_HINT, LABEL, LABEL_HINT, check_unique
from smart_meter.config.toml_table import Table, show

LOOPBACK = IPv4Network("127.0.0.0/8")
DEFAULT_ZONES = (FIELD_ZONE, CONTROL_ZONE)
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")


def read_zones(root: Table) -> tuple[ZoneConfig, ...]:
    """Return the valid zones; the problems of the others are collected in `root`."""
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
                tables[index].problem("network", f"{shared}; give zones networks that don't overlap")
    writable = any(zone is not None and zone.access is Access.READ_WRITE for zone in zones)
    if not writable and len(root.problems) == before:
        root.problem("zones", 'no zone may write, so no value would arrive; give one access = "read-write"')
    return tuple(zone for zone in zones if zone is not None)


def _read_zone(table: Table) -> ZoneConfig | None:
    name = table.text("name", None, IDENTIFIER, IDENTIFIER_HINT)
    peer = table.text("peer", None, LABEL, LABEL_HINT)
    if peer is not None and peer.upper() == "LOCALHOST":
        table.problem("peer", f"{show(peer)} is reserved for programs on this machine; give another name")
    medium = table.text("medium", "Ethernet", LABEL, LABEL_HINT)
    interface = table.text(
        "interface", None, _INTERFACE, 'an interface of this Pi, such as "wlan0" or "eth0"'
    )
    access = table.choice("access", Access.READ.value, [Access.READ.value, Access.READ_WRITE.value])
    network = _read_network(table)
    address = _read_address(table, network)
    table.close()
    if not (name and peer and medium and interface and access and address and network):
        return None
    return ZoneConfig(name, peer, medium, interface, address, network, Access(access))


def _read_network(table: Table) -> IPv4Network | None:
    hint = 'an IPv4 network, such as "192.168.1.0/24"'
    text = table.text("network", None, ANY_TEXT, hint)
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
        wrong = f"has no addresses for hosts; give {hint}"
    if wrong:
        table.problem("network", f"{show(text)} {wrong}")
        return None
    return network


def _read_address(table: Table, network: IPv4Network | None) -> IPv4Address | None:
    hint = 'this Pi\'s own IPv4 address in the zone, such as "192.168.1.100"'
    text = table.text("address", None, ANY_TEXT, hint)
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
        wrong = f"is the network's own address in {network}; give the address of a host"
    elif network.prefixlen < 31 and address == network.broadcast_address:
        wrong = f"is the broadcast address of {network}; give the address of a host"
    if wrong:
        table.problem("address", f"{address} {wrong}")
        return None
    return address
