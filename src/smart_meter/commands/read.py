"""`smart-meter read`: a meter's registers, decoded."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from smart_meter.client import Client
from smart_meter.commands.target import told
from smart_meter.config import MeterConfig
from smart_meter.register_map import DataType, Measurement
from smart_meter.telemetry import iso_time


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 once the values are printed, 1 where the server can't be reached or refuses."""

    def command(client: Client, meter: MeterConfig) -> int:
        registers = client.read(meter.map.start, meter.map.quantity)
        if arguments.json:
            print(json.dumps(_record(client, meter, registers), ensure_ascii=False))
        else:
            print(table(meter, registers))
        return 0

    return told(command, arguments)


def table(meter: MeterConfig, registers: list[int]) -> str:
    """Return the decoded registers, a measurement on each line. registers: the map's whole span."""
    values = meter.map.decode(registers)
    rows = [("Register", "Measurement", "Value", "Unit", "Raw")]
    for measurement in meter.map.measurements:
        last = f"-{measurement.end - 1}" if measurement.width > 1 else ""
        raw = _raw(meter, measurement, registers)
        rows.append(
            (
                f"{measurement.address}{last}",
                measurement.name,
                _shown(measurement, values[measurement.name]),
                measurement.unit,
                " ".join(str(register) for register in raw),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _record(client: Client, meter: MeterConfig, registers: list[int]) -> dict[str, Any]:
    values = meter.map.decode(registers)
    timestamp = meter.map.timestamp
    return {
        "host": client.host,
        "port": client.port,
        "meter": meter.name,
        "unit_id": meter.unit_id,
        "measured": iso_time(values[timestamp.name]) if timestamp else None,
        "measurements": [
            {
                "register": measurement.address,
                "name": measurement.name,
                # JSON has no not-a-number.
                "value": value if math.isfinite(value := values[measurement.name]) else None,
                "unit": measurement.unit,
                "raw": _raw(meter, measurement, registers),
            }
            for measurement in meter.map.measurements
        ],
    }


def _raw(meter: MeterConfig, measurement: Measurement, registers: list[int]) -> list[int]:
    start = meter.map.start
    return registers[measurement.address - start : measurement.end - start]


def _shown(measurement: Measurement, value: float) -> str:
    if measurement.type is DataType.TIMESTAMP:
        return iso_time(value)
    return f"{value:.{measurement.decimals}f}"
