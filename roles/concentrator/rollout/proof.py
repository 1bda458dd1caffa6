"""What a configuration's proof asks, from where, and the program that asks on the Pi."""

from __future__ import annotations

import inspect
import socket
import struct
from pathlib import Path
from typing import Any

from smart_meter.concentrator import probe
from smart_meter.config import Access, Config, OnStale, ZoneConfig
from smart_meter.meters.roles import Role, Roles
from smart_meter.modbus.functions import FunctionCode
from smart_meter.net import modbus_client

_PROVE = Path(__file__).resolve().parents[1] / "files/prove.py"
# prove.py finds the client under its usual name, as if the package were installed.
_PROGRAM = """\
import sys, types
client = sys.modules[{name!r}] = types.ModuleType({name!r})
exec(compile({client!r}, {name!r}, "exec"), client.__dict__)
exec(compile({prove!r}, "prove.py", "exec"))
"""


class NotProvableError(Exception):
    """The configuration gives this client nothing to ask; the message explains why."""


def program() -> str:
    """Return prove.py together with its Modbus client, for a Python that has nothing of ours installed."""
    return _PROGRAM.format(
        name=modbus_client.__name__,
        client=inspect.getsource(modbus_client),
        prove=_PROVE.read_text(encoding="utf-8"),
    )


def reader(config: Config) -> ZoneConfig:
    """Return the control zone: the first that may only read."""
    return next((zone for zone in config.zones if zone.access is Access.READ), config.zones[0])


def direct_client(connection: str, address: str, table: Path = Path("/proc/net/tcp")) -> str:
    """Return the controller's own address if it is connected directly to this address of the Pi, else "".

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
    # proc(5): the address is in the machine's byte order, in hexadecimal.
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    return f"{number:08X}:{int(port):04X}"


def target(config: Config, client: str, seconds: float) -> dict[str, Any]:
    """Return the argument of files/prove.py.

    client: the address that it asks from; "" for the Pi's own in that zone. seconds: how long it may take
    until the Pi serves. Raises NotProvableError.
    """
    zone = reader(config)
    role = Roles(config).role(client or str(zone.address), str(zone.address))
    if role is None:
        message = (
            f"this controller's address, {client}, is in no zone of the configuration, so it could not read"
        )
        raise NotProvableError(message)
    return {
        "host": str(zone.address),
        "port": config.server.port,
        "seconds": seconds,
        "announcement": probe.PDU.hex(),
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
            "reads": FunctionCode.READ_HOLDING_REGISTERS in permission.functions,
            "identifies": FunctionCode.ENCAPSULATED_INTERFACE_TRANSPORT in permission.functions,
            "silent": meter.on_stale is OnStale.EXCEPTION,
        }
        for meter, permission in zip(config.meters, role.permissions, strict=True)
    ]
