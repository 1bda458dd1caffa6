"""Who may do what: a client's network decides. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from smart_meter.config import Access, ZoneConfig

LOCALHOST = "LOCALHOST"


@dataclass(frozen=True, slots=True)
class Client:
    """What one client may do, and the peer's name under which the journal and the totals keep it."""

    reader: str
    writer: str | None
    """None: it may not write."""

    @property
    def may_write(self) -> bool:
        """Whether write requests are carried out."""
        return self.writer is not None


class AccessControl:
    """Finds the zone that a client's address lies in."""

    def __init__(self, zones: tuple[ZoneConfig, ...], *, trial: bool = False) -> None:
        """`trial`: this machine's own programs stand in for the peers, and may write."""
        self._zones = [
            (int(zone.network.network_address), int(zone.network.netmask), _client(zone)) for zone in zones
        ]
        self._localhost = _stand_in(zones) if trial else Client(LOCALHOST, None)

    def client(self, address: str) -> Client | None:
        """Return what a client may do, or None for one in no zone; an IPv4-mapped address counts as IPv4."""
        parsed: IPv4Address | IPv6Address = ip_address(address)
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        if parsed.is_loopback:
            return self._localhost
        if isinstance(parsed, IPv4Address):
            number = int(parsed)
            for network, mask, client in self._zones:
                if number & mask == network:
                    return client
        return None


def _client(zone: ZoneConfig) -> Client:
    tag = zone.peer.upper()
    return Client(tag, tag if zone.access is Access.READ_WRITE else None)


def _stand_in(zones: tuple[ZoneConfig, ...]) -> Client:
    clients = [_client(zone) for zone in zones]
    writer = next(client for client in clients if client.may_write)
    reader = next((client for client in clients if not client.may_write), writer)
    return Client(reader.reader, writer.writer)
