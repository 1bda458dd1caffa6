"""Read every meter as a client would, and hold the register map's fingerprint against what it should be.

Run by the controller where it stands in the zone, else on the Pi by its own Python; so it needs nothing but
that. Takes one JSON object, and prints the list of what is wrong, as JSON; empty: proven.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from typing import Any

READ, IDENTIFY = 0x03, 0x2B  # Application Protocol V1.1b3, 6.3 and 6.21
# Query data (6.8) by which nothing of this connection is counted: smart_meter/concentrator/probe.py.
_ANNOUNCE = b"\x08\x00\x00smart-meter: probe"
_ONE_OBJECT = bytes((IDENTIFY, 0x0E, 0x04, 0x80))  # MEI type 14, individual access, the map's fingerprint
_STALE = 0x0B
_PAUSE = 0.2


def prove(target: dict[str, Any]) -> list[str]:
    """Return what is wrong.

    target: host, port, seconds (how long it may take to serve), meters: name, unit, start, quantity,
    fingerprint, and whether this client reads and identifies, and `silent` where stale values are answered
    with an exception.
    """
    deadline = time.monotonic() + target["seconds"]
    while True:
        problems = _attempt(target)
        if not problems or time.monotonic() > deadline:
            return problems
        time.sleep(_PAUSE)


def _attempt(target: dict[str, Any]) -> list[str]:
    try:
        with socket.create_connection((target["host"], target["port"]), timeout=3) as connection:
            # Whatever the answer: a client that may not use the function code is understood all the same.
            _ask(connection, target["meters"][0]["unit"], _ANNOUNCE)
            return [problem for meter in target["meters"] for problem in _check(connection, meter)]
    except OSError as error:
        return [f"{target['host']}:{target['port']}: {error}"]


def _check(connection: socket.socket, meter: dict[str, Any]) -> list[str]:
    where = f"meter {meter['name']}, unit {meter['unit']}"
    problems = []
    answer = _ask(
        connection, meter["unit"], struct.pack(">BHH", READ, meter["start"], min(meter["quantity"], 125))
    )
    stale = answer[0] == READ | 0x80 and answer[1] == _STALE and meter["silent"]
    if meter["reads"] and answer[0] != READ and not stale:
        problems.append(f"{where}: a read is answered with exception 0x{answer[1]:02X}")
    answer = _ask(connection, meter["unit"], _ONE_OBJECT)
    if meter["identifies"]:
        found = answer[9:].decode("ascii", "replace") if answer[0] == IDENTIFY else "exception"
        if found != meter["fingerprint"]:
            problems.append(
                f"{where}: the map's fingerprint is {found}, and should be {meter['fingerprint']}"
            )
    return problems


def _ask(connection: socket.socket, unit: int, pdu: bytes) -> bytes:
    """Return the reply's PDU. Raises OSError."""
    connection.sendall(struct.pack(">HHHB", 1, 0, len(pdu) + 1, unit) + pdu)
    head = _receive(connection, 7)
    return _receive(connection, int(struct.unpack(">H", head[4:6])[0]) - 1)


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("the connection was closed instead of an answer")
        data += more
    return data


if __name__ == "__main__":
    print(json.dumps(prove(json.loads(sys.argv[1]))))
