"""Read every meter as a client would, and compare the fingerprint of its register map with the expected one.

It runs on the controller if that is in the zone, otherwise on the Pi. The Pi's own Python has nothing of
ours installed: rollout/proof.py sends the Modbus client along. Takes one JSON object and prints a JSON list
of what is wrong; an empty list is the proof.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from smart_meter.net.modbus_client import ExceptionReplyError, ModbusClient, ModbusError

_FINGERPRINT = 0x80  # the identification object that has the register map's fingerprint: docs/protocol.md
_MAX_READ = 125  # Application Protocol V1.1b3, 6.3
_NO_RESPONSE = 0x0B  # Application Protocol V1.1b3, 7: what a meter with on_stale = "exception" replies
_SECONDS = 3.0
_PAUSE = 0.2


def prove(target: dict[str, Any]) -> list[str]:
    """Return what is wrong, after trying until nothing is or the time is over.

    target: host, port, seconds (how long it may take until it serves), announcement (the probe's PDU in
    hexadecimal), and meters, each with name, unit, start, quantity, fingerprint, `reads` and `identifies`
    (whether this client may), and `silent` (whether stale values are answered with an exception).
    """
    deadline = time.monotonic() + target["seconds"]
    while True:
        problems = _attempt(target)
        if not problems or time.monotonic() > deadline:
            return problems
        time.sleep(_PAUSE)


def _attempt(target: dict[str, Any]) -> list[str]:
    host, port, meters = target["host"], target["port"], target["meters"]
    try:
        with ModbusClient.connect(host, port, _SECONDS) as client:
            client.announce(meters[0]["unit"], bytes.fromhex(target["announcement"]))
            return [
                f"meter {meter['name']}, unit {meter['unit']}: {problem}"
                for meter in meters
                for problem in _check(client, meter)
            ]
    except ModbusError as error:
        return [f"{host}:{port}: {error}"]


def _check(client: ModbusClient, meter: dict[str, Any]) -> Iterator[str]:
    unit = meter["unit"]
    if meter["reads"]:
        try:
            client.read_holding_registers(unit, meter["start"], min(meter["quantity"], _MAX_READ))
        except ExceptionReplyError as error:
            if not (meter["silent"] and error.code == _NO_RESPONSE):
                yield f"a read is answered with {error}"
    if meter["identifies"]:
        try:
            found = client.read_object(unit, _FINGERPRINT).decode("ascii", "replace")
        except ExceptionReplyError as error:
            found = str(error)
        if found != meter["fingerprint"]:
            yield f"the register map's fingerprint is {found} instead of {meter['fingerprint']}"


if __name__ == "__main__":
    print(json.dumps(prove(json.loads(sys.argv[1]))))
