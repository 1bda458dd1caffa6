"""Who writes: one connection of a client's address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

_LOOPBACK = IPv4Address("127.0.0.1")


class Source:
    """A connection that writes to meters. Two sources are equal only if they are the same connection."""

    __slots__ = ("address", "peer")

    def __init__(self, address: str, peer: str = "") -> None:
        number = ipv4_number(address)
        self.address = address if number is None else str(IPv4Address(number))
        """The client's address, the IPv4 one if it has one: the writer, whichever connection it uses."""
        self.peer = peer
        """The name of the device in its zone, for the log."""

    def __str__(self) -> str:
        return f"{self.peer} ({self.address})" if self.peer else self.address


def ipv4_number(address: str) -> int | None:
    """Return the 32 bits of a client's IPv4 address; None if it has none.

    An IPv4 address in an IPv6 one counts, and so does the loopback address of IPv6 as that of IPv4.
    """
    try:
        parsed: IPv4Address | IPv6Address | None = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        parsed = _LOOPBACK if parsed.is_loopback else parsed.ipv4_mapped
    return None if parsed is None else int(parsed)


NOBODY = Source("")
"""The source of writes that no client made."""
