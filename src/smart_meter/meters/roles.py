"""Who may do what: a client's network and the address that it reached decide. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import NamedTuple

from smart_meter.config import Access, Config, MeterConfig, ZoneConfig
from smart_meter.meters.source import ipv4_number
from smart_meter.modbus.functions import FUNCTIONS

LOCALHOST = "LOCALHOST"


class Permission(NamedTuple):
    """What a role may do with one meter."""

    writes: bool
    """Whether its access includes writing."""
    functions: frozenset[int]
    """The function codes that it may use."""


class Role(NamedTuple):
    """A kind of client: whose zone it is in, and what it may do. Clients of equal roles are treated alike."""

    zone: str
    reader: str
    """The peer under whose name the log and the totals keep its reads."""
    writer: str
    permissions: tuple[Permission, ...]
    """One for each meter, in the configuration's order."""


class Roles:
    """Finds the role of a client by the zone that it lies in."""

    def __init__(self, config: Config, *, trial: bool = False) -> None:
        """`trial`: this machine's own programs stand in for the peers, and may write."""
        self._zones = [
            (int(zone.network.network_address), int(zone.network.netmask), zone) for zone in config.zones
        ]
        self._meters = config.meters
        self._localhost = _stand_in(config) if trial else _local(config)

    def role(self, address: str, local: str | None = None) -> Role | None:
        """Return a client's role, or None for one in no zone; its address counts as `ipv4_number` finds it.

        local: the address of this machine that it reached. Within a zone that has to be the zone's own: a
        host of one zone does not come in by the door of another. None: it is not looked at.
        """
        number = ipv4_number(address)
        if number is None:
            return None
        if _is_loopback(number):
            return self._localhost
        for network, mask, zone in self._zones:
            if number & mask == network:
                if number == int(zone.address):
                    # A program of this machine, which must not pose as a host of the zone.
                    return self._localhost
                if local is not None and ipv4_number(local) != int(zone.address):
                    return None
                return self._role(zone, IPv4Address(number))
        return None

    def _role(self, zone: ZoneConfig, address: IPv4Address) -> Role:
        tag = zone.peer.upper()
        permissions = tuple(_in_zone(meter, zone, address) for meter in self._meters)
        return Role(zone.name, tag, tag, permissions)


def permission(access: Access, functions: frozenset[int] = frozenset()) -> Permission:
    """Return what an access allows. functions: the codes that it is restricted to; empty: it is not.

    A function that neither reads nor writes registers goes with either right.
    """
    allowed = frozenset(
        int(code)
        for code, function in FUNCTIONS.items()
        if access is not Access.NONE
        and (not functions or code in functions)
        and (function.reads is None or access.reads)
        and (function.writes is None or access.writes)
    )
    return Permission(access.writes, allowed)


def _in_zone(meter: MeterConfig, zone: ZoneConfig, address: IPv4Address) -> Permission:
    if not meter.access:
        return permission(zone.access)
    for rule in meter.access:
        if rule.zone == zone.name and (
            not rule.clients or any(address in network for network in rule.clients)
        ):
            return permission(rule.access, rule.functions)
    return permission(Access.NONE)


def _is_loopback(number: int) -> bool:
    return number >> 24 == 127


def _local(config: Config) -> Role:
    return Role(LOCALHOST, LOCALHOST, LOCALHOST, (permission(Access.READ),) * len(config.meters))


def _stand_in(config: Config) -> Role:
    writer = next((zone for zone in config.zones if zone.access.writes), config.zones[0])
    reader = next((zone for zone in config.zones if not zone.access.writes), writer)
    permissions = (permission(Access.READ_WRITE),) * len(config.meters)
    return Role(LOCALHOST, reader.peer.upper(), writer.peer.upper(), permissions)
