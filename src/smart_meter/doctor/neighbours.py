"""Asks on a network whether another host has this machine's address (RFC 5227).

It needs only Python and root, since the playbooks also run this file on Pis that have no release yet.
Arguments: pairs of an interface and an address. It prints a JSON object: by address, the MAC address of
another host that has it, or an empty text.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from select import select

INTERFACES = Path("/sys/class/net")
SECONDS = 1.0
_PROBES = 3
_ETH_P_ARP = 0x0806
# Hardware type (Ethernet), protocol (IPv4), the lengths of their addresses, operation; sender and target.
_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_KIND = (1, 0x0800, 6, 4)
_REQUEST = 1
_BROADCAST = b"\xff" * 6


def probe(source: bytes, address: str) -> bytes:
    """Return a probe: a request whose sender has no address yet, so that it changes nobody's table."""
    return _PACKET.pack(*_KIND, _REQUEST, source, bytes(4), bytes(6), socket.inet_aton(address))


def sender(packet: bytes) -> tuple[str, bytes] | None:
    """Return the address and the MAC address of a packet's sender; None if it is not ARP for IPv4."""
    if len(packet) < _PACKET.size:
        return None
    *kind, _, mac, address, _, _ = _PACKET.unpack_from(packet)
    return (socket.inet_ntoa(address), mac) if tuple(kind) == _KIND else None


def own_macs() -> dict[str, bytes]:
    """Return this machine's MAC addresses, by interface."""
    found = {}
    for folder in INTERFACES.iterdir():
        with suppress(OSError, ValueError):
            found[folder.name] = bytes.fromhex((folder / "address").read_text().strip().replace(":", ""))
    return found


def others(asked: Sequence[tuple[str, str]], seconds: float = SECONDS) -> dict[str, str]:
    """Return, by address, the MAC address of another host that has it; an empty text if no host answers.

    asked: (interface, address); an address whose interface is missing or down is not among the results.
    Raises PermissionError if this user is not root.
    """
    own = own_macs()
    found: dict[str, str] = {}
    with ExitStack() as stack:
        sockets: dict[socket.socket, tuple[str, str]] = {}
        for interface, address in asked:
            if len(own.get(interface, b"")) == len(_BROADCAST):
                opened = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))
                with suppress(OSError):
                    opened.bind((interface, _ETH_P_ARP))
                    sockets[opened] = interface, address
        begun = time.monotonic()
        sent = 0
        while sockets and (left := begun + seconds - time.monotonic()) > 0:
            due = begun + sent * seconds / (_PROBES + 1) - time.monotonic()
            if sent < _PROBES and due <= 0:
                sent += 1
                for opened, (interface, address) in sockets.items():
                    with suppress(OSError):
                        to = (interface, _ETH_P_ARP, 0, 0, _BROADCAST)
                        opened.sendto(probe(own[interface], address), to)
                        found.setdefault(address, "")
                continue
            ready, _, _ = select(sockets, [], [], min(left, due) if sent < _PROBES else left)
            for opened in ready:
                with suppress(OSError):
                    heard = sender(opened.recv(256))
                    _, address = sockets[opened]
                    if heard is not None and heard[0] == address and heard[1] not in own.values():
                        found[address] = heard[1].hex(":")
    return found


if __name__ == "__main__":
    print(json.dumps(others(list(zip(sys.argv[1::2], sys.argv[2::2], strict=True)))))
