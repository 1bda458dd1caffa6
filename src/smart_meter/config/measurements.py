"""Reads the measurements of a meter: its register map."""

from __future__ import annotations

import math

from smart_meter.config.names import IDENTIFIER, IDENTIFIER_HINT, UNIT, UNIT_HINT, check_unique
from smart_meter.config.toml_table import Table, show
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, WordOrder

MAX_REGISTER = 0xFFFF  # Application Protocol V1.1b3, 4.4
_BIG = 1e12


def read_measurements(tables: list[Table]) -> tuple[Measurement, ...]:
    """Return the measurements that could be read; what is wrong with the others is noted."""
    measurements = [_read_measurement(table) for table in tables]
    check_unique(tables, "name", fold=False)
    placed: list[tuple[Measurement, Table]] = []
    timestamp: Table | None = None
    for table, measurement in zip(tables, measurements, strict=True):
        if measurement is None:
            continue
        for earlier, earlier_table in placed:
            if measurement.address < earlier.end and earlier.address < measurement.end:
                shared = f"{_registers(measurement)} overlaps {_registers(earlier)} of {earlier_table.path}"
                table.problem("address", f"{shared} ({earlier.name}); give each measurement its own")
        placed.append((measurement, table))
        if measurement.type is DataType.TIMESTAMP:
            if timestamp is not None:
                first = f"{timestamp.path} is the meter's timestamp already"
                table.problem("type", f"{first}; a meter has one at most")
            timestamp = timestamp or table
    return tuple(measurement for measurement, _ in placed)


def _read_measurement(table: Table) -> Measurement | None:
    name = table.text("name", None, IDENTIFIER, IDENTIFIER_HINT)
    address = table.integer("address", None, 0, MAX_REGISTER, f"a register from 0 to {MAX_REGISTER}")
    kind = table.choice("type", DataType.UINT16.value, [t.value for t in DataType])
    order = table.choice("word_order", WordOrder.BIG.value, [o.value for o in WordOrder])
    scale = table.number(
        "scale", 1, 1e-9, 1e9, "a number over 0, at most 1e9: stored number = (value - offset) x scale"
    )
    offset = table.number("offset", 0, -_BIG, _BIG, "a number: value = stored / scale + offset")
    minimum = table.optional_number("minimum", -_BIG, _BIG, "the lowest value that is plausible")
    maximum = table.optional_number("maximum", -_BIG, _BIG, "the highest value that is plausible")
    unit = table.text("unit", "", UNIT, UNIT_HINT)
    decimals = table.integer("decimals", 1, 0, 6)
    sentinel = None if kind is None else _read_sentinel(table, DataType(kind))
    table.close()
    if name is None or address is None or kind is None or order is None:
        return None
    if scale is None or offset is None or unit is None or decimals is None:
        return None
    measurement = Measurement(
        name,
        address,
        DataType(kind),
        scale,
        unit,
        decimals,
        WordOrder(order),
        offset,
        minimum,
        maximum,
        sentinel,
    )
    return measurement if _holds_together(table, measurement) else None


def _holds_together(table: Table, measurement: Measurement) -> bool:
    """Note what can only be said of several keys together; return whether the measurement has its place."""
    low, high = measurement.minimum, measurement.maximum
    if low is not None and high is not None and low > high:
        table.problem("minimum", f"{show(low)} is over maximum, {show(high)}; swap them")
    if measurement.width == 1 and measurement.word_order is not WordOrder.BIG:
        told = f"{show(measurement.word_order.value)} for {measurement.type.value}, which is one register"
        table.problem("word_order", f"{told}; leave the key out")
    if measurement.type is DataType.TIMESTAMP:
        for key, wrong in (("scale", measurement.scale != 1), ("offset", measurement.offset != 0)):
            if wrong:
                what = "Unix seconds have scale 1 and offset 0, leave the key out"
                table.problem(key, f"{show(table.data[key])} for a timestamp; {what}")
        if measurement.limited:
            key = "minimum" if low is not None else "maximum"
            table.problem(
                key, f"{show(table.data[key])} for a timestamp, which has no range; leave the key out"
            )
    if measurement.end > MAX_REGISTER + 1:
        last = MAX_REGISTER + 1 - measurement.width
        message = (
            f"{measurement.address} leaves no room for {measurement.width} registers; give at most {last}"
        )
        table.problem("address", message)
        return False
    return True


def _read_sentinel(table: Table, kind: DataType) -> float | None:
    value = table.anything("sentinel")
    if value is None:
        return None
    if kind is DataType.TIMESTAMP:
        table.problem("sentinel", "a timestamp has none: it stays what it is; leave the key out")
        return None
    if kind.limits is not None:
        low, high = kind.limits
        return table.integer("sentinel", None, low, high, f"the stored integer, from {low} to {high}")
    if isinstance(value, float) and math.isnan(value):
        return value
    return table.number("sentinel", 0, -3.4e38, 3.4e38, f"a number that {kind.value} can hold, or nan")


def _registers(measurement: Measurement) -> str:
    if measurement.width == 1:
        return f"register {measurement.address}"
    return f"registers {measurement.address} to {measurement.end - 1}"
