"""The rule for an address to listen on: of the configuration and of `smart-meter run --host`."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address


def listen_fault(value: str) -> str:
    """Return what is wrong with an address to listen on, for a message; empty if it is valid."""
    # An IPv6 address may have a zone (RFC 4007): the name of an interface.
    if not (value.isascii() and value.isprintable()):
        return "is not an IP address"
    try:
        address = ip_address(value)
    except ValueError:
        return "is not an IP address"
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "is not the address of a host"
    return ""
