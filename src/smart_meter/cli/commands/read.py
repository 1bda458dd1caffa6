"""`smart-meter read`: print a meter's decoded registers and its state."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any

from smart_meter.cli.client import Client, ClientError
from smart_meter.cli.target import run_client
from smart_meter.config import MeterConfig
from smart_meter.meters.sample import iso_time
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement
from smart_meter.registers.status_block import State, Status, describe


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if the values were printed, 1 if the server is unreachable or refused."""

    def command(client: Client, meter: MeterConfig) -> int:
        registers = client.read_map(meter.map)
        status = _status(client)
        if status is not None and status.fingerprint != meter.map.fingerprint:
            print(_other_map(meter, status, arguments.config), file=sys.stderr)
        if arguments.json:
            print(json.dumps(record(client.host, client.port, meter, registers, status), ensure_ascii=False))
        else:
            print(table(meter, registers))
            print("State: " + (describe(status) if status else "unknown, the server has no status block"))
        return 0

    return run_client(command, arguments)


def table(meter: MeterConfig, registers: list[int]) -> str:
    """Return the decoded registers, one measurement per line; "-" means "no value".

    registers: the map's whole span.
    """
    values = meter.map.decode(registers)
    rows = [("Register", "Measurement", "Value", "Unit", "Raw")]
    for measurement in meter.map.measurements:
        last = f"-{measurement.end - 1}" if measurement.width > 1 else ""
        raw = _raw(meter, measurement, registers)
        rows.append(
            (
                f"{measurement.address}{last}",
                measurement.name,
                _shown(measurement, raw, values[measurement.name]),
                measurement.unit,
                " ".join(str(register) for register in raw),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def record(
    host: str, port: int, meter: MeterConfig, registers: list[int], status: Status | None
) -> dict[str, Any]:
    """Return the decoded registers and the state as a JSON object; null means "no value" or "unknown".

    registers: the map's whole span. status: None if the server has no status block.
    """
    values = meter.map.decode(registers)
    timestamp = meter.map.timestamp
    return {
        "host": host,
        "port": port,
        "meter": meter.name,
        "unit_id": meter.unit_id,
        "state": None if status is None else State(status.state).name.lower(),
        "age": None if status is None else status.age,
        "measured": iso_time(values[timestamp.name]) if timestamp else None,
        "measurements": [
            {
                "register": measurement.address,
                "name": measurement.name,
                "value": _number(measurement, raw, values[measurement.name]),
                "unit": measurement.unit,
                "raw": raw,
            }
            for measurement in meter.map.measurements
            for raw in [_raw(meter, measurement, registers)]
        ],
    }


def _status(client: Client) -> Status | None:
    try:
        return client.read_status()
    except ClientError:
        # The values were read; a server that does not answer this request has no status block.
        return None


def _other_map(meter: MeterConfig, status: Status, config: str | None) -> str:
    source = "the default map" if config is None else f"{meter.name} in {config}"
    return (
        f"smart-meter: the server's register map is {status.fingerprint}, but the values were decoded with "
        f"{source}, {meter.map.fingerprint}; give the server's configuration with --config"
    )


def _raw(meter: MeterConfig, measurement: Measurement, registers: list[int]) -> list[int]:
    start = meter.map.start
    return registers[measurement.address - start : measurement.end - start]


def _number(measurement: Measurement, raw: list[int], value: float) -> float | None:
    # JSON has neither not-a-number nor the infinities.
    return None if _is_nothing(measurement, raw) or not math.isfinite(value) else value


def _shown(measurement: Measurement, raw: list[int], value: float) -> str:
    if _is_nothing(measurement, raw):
        return "-"
    if measurement.type is DataType.TIMESTAMP:
        return iso_time(value)
    return measurement.format_number(value)


def _is_nothing(measurement: Measurement, raw: list[int]) -> bool:
    """Whether registers mean "no value", from the sender or because the meter is stale."""
    return measurement.is_sentinel(raw) or measurement.is_no_value(raw)
