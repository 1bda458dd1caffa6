"""The rows that all formats show: one for each measurement and for each entry of the status block."""

from __future__ import annotations

import math
from dataclasses import dataclass

from smart_meter.config import MeterConfig
from smart_meter.modbus.functions import MAX_READ_REGISTERS, MAX_WRITE_REGISTERS
from smart_meter.registers import status_block
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement

READ_HOLDING = 3  # Application Protocol V1.1b3, 6.3
READ_INPUT = 4  # 6.4
WRITE_SINGLE, WRITE_MULTIPLE = 6, 16  # 6.6, 6.12

_LAST_OF_FIVE_DIGITS = 9998


@dataclass(frozen=True, slots=True)
class Row:
    """One number that can be read."""

    name: str
    holding: bool
    """In the holding registers; else in the input registers."""
    address: int
    """From 0, as it is in a request."""
    width: int
    type: DataType
    word_order: str
    """big, little, or empty for a single register."""
    scale: float
    offset: float
    unit: str
    minimum: float | None
    maximum: float | None
    sentinel: float | None
    """The stored number."""
    no_value: float | None
    """The stored number that a sender without a value sends."""
    flag: int | None
    """The bit of the status block's out-of-range flags."""
    meaning: str

    @property
    def reference(self) -> str:
        """Return the number that PLC tools show, such as 40001; with six digits if five are too few."""
        table = "4" if self.holding else "3"
        digits = 4 if self.address <= _LAST_OF_FIVE_DIGITS else 5
        return f"{table}{self.address + 1:0{digits}}"

    @property
    def function(self) -> int:
        """Return the function code that reads it."""
        return READ_HOLDING if self.holding else READ_INPUT


def measurement_rows(meter: MeterConfig) -> list[Row]:
    """Return the meter's holding registers, by address."""
    rows = [_measurement(m, flag) for flag, m in enumerate(meter.map.measurements)]
    return sorted(rows, key=lambda row: row.address)


def status_rows() -> list[Row]:
    """Return the status block's input registers, by address."""
    return [
        Row(
            name=field.name,
            holding=False,
            address=field.address,
            width=field.width,
            type=field.type,
            word_order="big" if field.width > 1 else "",
            scale=1,
            offset=0,
            unit=field.unit,
            minimum=None,
            maximum=None,
            sentinel=None,
            no_value=None,
            flag=None,
            meaning=field.meaning,
        )
        for field in status_block.FIELDS
    ]


def number(value: float | None) -> str:
    """Return a number as a person would write it, without `.0`; empty for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(float(value))


def requests(meter: MeterConfig) -> tuple[int, int]:
    """Return the least number of requests to read the whole map, and to write it."""
    return len(meter.map.spans(MAX_READ_REGISTERS)), len(meter.map.spans(MAX_WRITE_REGISTERS))


def _measurement(measurement: Measurement, flag: int) -> Row:
    timestamp = measurement.type is DataType.TIMESTAMP
    sentinel = measurement.type.sentinel if measurement.sentinel is None else measurement.sentinel
    return Row(
        name=measurement.name,
        holding=True,
        address=measurement.address,
        width=measurement.width,
        type=measurement.type,
        word_order=measurement.word_order.value if measurement.width > 1 else "",
        scale=measurement.scale,
        offset=measurement.offset,
        unit="s" if timestamp and not measurement.unit else measurement.unit,
        minimum=measurement.minimum,
        maximum=measurement.maximum,
        sentinel=None if timestamp else sentinel,
        no_value=measurement.no_value_number,
        flag=flag if measurement.limited and flag < status_block.FLAGS else None,
        meaning="when the sample was measured: Unix seconds" if timestamp else "",
    )
