"""A router that sends ICMP redirects, to make a Pi use another router.

python -m tests.integration.redirect PI CLIENT ROUTER OTHER: CLIENT and ROUTER must be addresses of this host.
CLIENT pings PI, which replies by way of ROUTER. ROUTER then redirects it to OTHER.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

ECHO_REPLY, REDIRECT, ECHO_REQUEST = 0, 5, 8  # RFC 792
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


def icmp(address: str) -> socket.socket:
    """Return a socket that sends ICMP from an address of this host."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw.bind((address, 0))
    raw.settimeout(5)
    return raw


def main(pi: str, client: str, router: str, other: str) -> None:
    """Ping once, and send redirects for the reply."""
    identifier = struct.pack(">HH", 4711, 1)
    with icmp(client) as pinging, icmp(router) as redirecting:
        pinging.sendto(message(ECHO_REQUEST, 0, identifier, b""), (pi, 0))
        while (answer := pinging.recv(1500))[20] != ECHO_REPLY:
            pass
        # The Pi recognises its own packet by its header and its first eight bytes.
        about = answer[:28]
        for _ in range(TIMES):
            redirecting.sendto(message(REDIRECT, FOR_THE_HOST, socket.inet_aton(other), about), (pi, 0))
            time.sleep(0.2)
    print("redirected")


if __name__ == "__main__":
    main(*sys.argv[1:])
