"""`smart-meter probe`: find out what this client may do with a server, without changing anything there."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

from smart_meter.cli.client import WRITES, Client, ExceptionAnsweredError, UnreachableError
from smart_meter.cli.target import run_client
from smart_meter.config import MeterConfig
from smart_meter.modbus.functions import ExceptionCode

NO_CONNECTION = "no-connection"
READ_ONLY = "read-only"
READ_WRITE = "read-write"
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result: one of the values of `--expect` or `other`, and a description."""

    found: str
    detail: str


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if the server behaves as expected, otherwise 1."""

    def command(client: Client, meter: MeterConfig) -> int:
        finding = probe(client, meter)
        as_expected = finding.found == arguments.expect
        if arguments.json:
            record = {**asdict(finding), "expected": arguments.expect, "as_expected": as_expected}
            print(json.dumps(record, ensure_ascii=False))
        else:
            verdict = "as expected" if as_expected else f"NOT as expected: {arguments.expect}"
            print(f"{finding.found}: {finding.detail} ({verdict})")
        return 0 if as_expected else 1

    return run_client(command, arguments)


def probe(client: Client, meter: MeterConfig) -> Finding:
    """Read the map, then send writes that no server can carry out, so that nothing changes there."""
    start = meter.map.start
    try:
        client.announce_probe()
        client.read(start, meter.map.quantity)
    except UnreachableError as error:
        return Finding(NO_CONNECTION, str(error))
    except ExceptionAnsweredError as error:
        return Finding(OTHER, str(error))
    read = f"registers {start} to {meter.map.end - 1} can be read"
    try:
        usual, *others = WRITES
        if _may_write(client, usual):
            return Finding(READ_WRITE, f"{read} and written")
        single = [str(function) for function in others if _may_write(client, function)]
    except (ExceptionAnsweredError, UnreachableError) as error:
        return Finding(OTHER, f"{read}; {error}")
    if single:
        codes = " and ".join(single)
        return Finding(READ_WRITE, f"{read}, and written with function code {codes}, not with {usual}")
    return Finding(READ_ONLY, f"{read}, a write is refused with exception 01")


def _may_write(client: Client, function: int) -> bool:
    try:
        client.try_write(function)
    except ExceptionAnsweredError as error:
        # Servers check a request in this order: function code, quantity, address.
        if error.code == ExceptionCode.ILLEGAL_FUNCTION:
            return False
        if error.code not in (ExceptionCode.ILLEGAL_DATA_VALUE, ExceptionCode.ILLEGAL_DATA_ADDRESS):
            raise
    return True
