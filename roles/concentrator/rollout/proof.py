"""What is to be proven of a configuration, and from where."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

from smart_meter.config import Access, Config, OnStale, ZoneConfig
from smart_meter.meters.access import AccessControl, Role

READ, IDENTIFY = 0x03, 0x2B  # Application Protocol V1.1b3, 6.3 and 6.21


class NotProvableError(Exception):
    """The configuration leaves nothing that could be asked from there; the text says why."""


def reader(config: Config) -> ZoneConfig:
    """Return the control zone: the first that may only read."""
    return next((zone for zone in config.zones if zone.access is Access.READ), config.zones[0])


def stands_in(connection: str, address: str, table: Path = Path("/proc/net/tcp")) -> str:
    """Return the controller's own address where it has come straight to this address of the Pi's, else
    nothing.

    connection: the Pi's SSH_CONNECTION. Behind a jump host or NAT, another Pi may answer at the same
    address: only a connection that is also one of this machine's own counts.
    """
    words = connection.split()
    if len(words) != 4 or words[2] != address or not table.exists():
        return ""
    try:
        ours, theirs = _in_table(words[0], words[1]), _in_table(words[2], words[3])
    except (OSError, ValueError):
        return ""
    rows = (line.split() for line in table.read_text().splitlines()[1:])
    return words[0] if any(row[1:3] == [ours, theirs] for row in rows) else ""


def _in_table(address: str, port: str) -> str:
    # proc(5): the address in the machine's own byte order, in hexadecimal.
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    return f"{number:08X}:{int(port):04X}"


def target(config: Config, client: str, seconds: float) -> dict[str, Any]:
    """Return what files/prove.py is to ask.

    client: the address that it will ask from; empty: the Pi's own in that zone. Raises NotProvableError.
    """
    zone = reader(config)
    role = AccessControl(config).role(client or str(zone.address), str(zone.address))
    if role is None:
        message = f"this controller's address, {client}, is in no zone of it: it cuts off whoever reads there"
        raise NotProvableError(message)
    return {
        "host": str(zone.address),
        "port": config.server.port,
        "seconds": seconds,
        "meters": _meters(config, role),
    }


def _meters(config: Config, role: Role) -> list[dict[str, Any]]:
    return [
        {
            "name": meter.name,
            "unit": meter.unit_id,
            "start": meter.map.start,
            "quantity": meter.map.quantity,
            "fingerprint": meter.map.fingerprint,
            "reads": READ in permission.functions,
            "identifies": IDENTIFY in permission.functions,
            "silent": meter.on_stale is OnStale.EXCEPTION,
        }
        for meter, permission in zip(config.meters, role.permissions, strict=True)
    ]
