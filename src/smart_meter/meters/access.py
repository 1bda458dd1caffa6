"""Who may do what: a client's network and the address that it reached decide. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from smart_meter.config import Access, Config, MeterConfig, ZoneConfig

LOCALHOST = "LOCALHOST"


class Permission(NamedTuple):
    """What a client may do with one meter."""

    access: Access
    functions: frozenset[int] = frozenset()
    """Function codes; empty: all that `access` allows."""

    def allows(self, code: int, *, reads: bool, writes: bool) -> bool:
        """Whether a function code may be used; one that neither reads nor writes goes with either right."""
        if self.functions and code not in self.functions:
            return False
        if reads or writes:
            return (not reads or self.access.reads) and (not writes or self.access.writes)
        return self.access is not Access.NONE


class Client(NamedTuple):
    """A kind of client: whose zone it is in, and what it may do. Equal clients share their rights."""

    zone: str
    reader: str
    """The peer's name under which the journal and the totals keep its reads."""
    writer: str
    permissions: tuple[Permission, ...]
    """One a meter, in the configuration's order."""

    @property
    def urgent(self) -> bool:
        """Whether it is served before others: it may only read, so it is a PLC that waits for an answer."""
        return not any(permission.access.writes for permission in self.permissions)


class AccessControl:
    """Finds the zone that a client lies in, and what it may do there."""

    def __init__(self, config: Config, *, trial: bool = False) -> None:
        """`trial`: this machine's own programs stand in for the peers, and may write."""
        self._zones = [
            (int(zone.network.network_address), int(zone.network.netmask), zone) for zone in config.zones
        ]
        self._meters = config.meters
        self._localhost = _stand_in(config) if trial else _local(config)

    def client(self, address: str, local: str | None = None) -> Client | None:
        """Return what a client may do, or None for one in no zone; an IPv4-mapped address counts as IPv4.

        local: the address of this machine that it reached. Within a zone that has to be the zone's own: a
        host of one zone does not come in by the door of another. None: it is not looked at.
        """
        number = _ipv4(address)
        if number is None or _is_loopback(number):
            return self._localhost if number is not None or ip_address(address).is_loopback else None
        for network, mask, zone in self._zones:
            if number & mask == network:
                if number == int(zone.address):
                    # A program of this machine, which must not pose as a host of the zone.
                    return self._localhost
                if local is not None and _ipv4(local) != int(zone.address):
                    return None
                return self._in_zone(zone, IPv4Address(number))
        return None

    def _in_zone(self, zone: ZoneConfig, address: IPv4Address) -> Client:
        tag = zone.peer.upper()
        permissions = tuple(_permission(meter, zone, address) for meter in self._meters)
        return Client(zone.name, tag, tag, permissions)


def _permission(meter: MeterConfig, zone: ZoneConfig, address: IPv4Address) -> Permission:
    if not meter.access:
        return Permission(zone.access)
    for rule in meter.access:
        if rule.zone == zone.name and (
            not rule.clients or any(address in network for network in rule.clients)
        ):
            return Permission(rule.access, rule.functions)
    return Permission(Access.NONE)


def _ipv4(address: str) -> int | None:
    parsed: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return None
        parsed = parsed.ipv4_mapped
    return int(parsed)


def _is_loopback(number: int) -> bool:
    return number >> 24 == 127


def _local(config: Config) -> Client:
    return Client(LOCALHOST, LOCALHOST, LOCALHOST, tuple(Permission(Access.READ) for _ in config.meters))


def _stand_in(config: Config) -> Client:
    writer = next((zone for zone in config.zones if zone.access.writes), config.zones[0])
    reader = next((zone for zone in config.zones if not zone.access.writes), writer)
    permissions = tuple(Permission(Access.READ_WRITE) for _ in config.meters)
    return Client(LOCALHOST, reader.peer.upper(), writer.peer.upper(), permissions)
