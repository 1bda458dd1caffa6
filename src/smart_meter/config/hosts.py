"""Which addresses a server can listen on."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address


def host_fault(value: str) -> str:
    """Return what is wrong with the address of a host, for a message; empty if it is valid."""
    try:
        address = ip_address(value)
    except ValueError:
        return "is not an IP address"
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "is not the address of a host"
    return ""
