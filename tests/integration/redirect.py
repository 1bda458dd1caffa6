"""A router that sends ICMP redirects, to make a Pi use another router.

python -m tests.integration.redirect PI CLIENT ROUTER OTHER: ROUTER must be an address of this host.
ROUTER redirects PI's packets for CLIENT to OTHER. It quotes a reply to a ping, which PI need not have sent: a
kernel keeps no list of those.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

ECHO_REPLY, REDIRECT = 0, 5  # RFC 792
FOR_THE_HOST = 1
# The first redirect only makes the Pi resolve OTHER's hardware address; later ones take effect.
TIMES = 4


def checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def message(kind: int, code: int, rest: bytes, data: bytes) -> bytes:
    """Return an ICMP message."""
    head = struct.pack(">BBH", kind, code, 0) + rest + data
    return struct.pack(">BBH", kind, code, checksum(head)) + rest + data


def ip_header(source: str, destination: str) -> bytes:
    """Return the IPv4 header of an ICMP message without data (RFC 791)."""
    start = struct.pack(">BBHHHBB", 0x45, 0, 28, 0, 0, 64, socket.IPPROTO_ICMP)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    return start + struct.pack(">H", checksum(start + b"\0\0" + addresses)) + addresses


def icmp(address: str) -> socket.socket:
    """Return a socket that sends ICMP from an address of this host."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw.bind((address, 0))
    return raw


def main(pi: str, client: str, router: str, other: str) -> None:
    """Send redirects for a packet from the Pi to the client."""
    # The Pi takes it for its own by its header and its first eight bytes.
    about = ip_header(pi, client) + message(ECHO_REPLY, 0, struct.pack(">HH", 4711, 1), b"")
    with icmp(router) as redirecting:
        for _ in range(TIMES):
            redirecting.sendto(message(REDIRECT, FOR_THE_HOST, socket.inet_aton(other), about), (pi, 0))
            time.sleep(0.2)
    print("redirected")


if __name__ == "__main__":
    main(*sys.argv[1:])
