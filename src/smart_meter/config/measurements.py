"""Reads the register map of a meter: its measurements."""

from __future__ import annotations

import math

from smart_meter.config.names import IDENTIFIER, IDENTIFIER_HINT, UNIT, UNIT_HINT, check_unique
from smart_meter.config.toml_table import Table, show
from smart_meter.registers.register_map import DataType, Measurement, WordOrder

MAX_REGISTER = 0xFFFF  # Application Protocol V1.1b3, 4.4
_BIG = 1e12


def read_measurements(tables: list[Table]) -> tuple[Measurement, ...]:
    """Return the valid measurements; the problems of the others are collected in `tables`."""
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
                first = f"{timestamp.path} is already the meter's timestamp"
                table.problem("type", f"{first}; give a meter at most one")
            timestamp = timestamp or table
    return tuple(measurement for measurement, _ in placed)


def _read_measurement(table: Table) -> Measurement | None:
    name = table.text("name", None, IDENTIFIER, IDENTIFIER_HINT)
    address = table.integer("address", None, 0, MAX_REGISTER, f"a register from 0 to {MAX_REGISTER}")
    kind = table.choice("type", DataType.UINT16.value, [t.value for t in DataType])
    order = table.choice("word_order", WordOrder.BIG.value, [o.value for o in WordOrder])
    scale = table.number(
        "scale", 1, 1e-9, 1e9, "a number above 0, at most 1e9: stored number = (value - offset) x scale"
    )
    offset = table.number("offset", 0, -_BIG, _BIG, "a number: value = stored / scale + offset")
    minimum = table.optional_number("minimum", -_BIG, _BIG, "the lowest plausible value")
    maximum = table.optional_number("maximum", -_BIG, _BIG, "the highest plausible value")
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
    """Check the rules that involve several keys; return whether the measurement fits in the registers."""
    low, high = measurement.minimum, measurement.maximum
    if low is not None and high is not None and low > high:
        table.problem("minimum", f"{show(low)} is above maximum, {show(high)}; swap them")
    if measurement.width == 1 and measurement.word_order is not WordOrder.BIG:
        misfit = f"{show(measurement.word_order.value)} for {measurement.type.value}, which has one register"
        table.problem("word_order", f"{misfit}; leave the key out")
    if measurement.type is DataType.TIMESTAMP:
        for key, wrong in (("scale", measurement.scale != 1), ("offset", measurement.offset != 0)):
            if wrong:
                why = "which is in Unix seconds, with scale 1 and offset 0; leave the key out"
                table.problem(key, f"{show(table.data[key])} for a timestamp, {why}")
        if measurement.limited:
            key = "minimum" if low is not None else "maximum"
            table.problem(
                key, f"{show(table.data[key])} for a timestamp, which has no range; leave the key out"
            )
    if measurement.end > MAX_REGISTER + 1:
        last = MAX_REGISTER + 1 - measurement.width
        message = f"{measurement.address} is too high for {measurement.width} registers; give at most {last}"
        table.problem("address", message)
        return False
    return True


def _read_sentinel(table: Table, kind: DataType) -> float | None:
    value = table.anything("sentinel")
    if value is None:
        return None
    if kind is DataType.TIMESTAMP:
        table.problem("sentinel", "a timestamp keeps its value and has no sentinel; leave the key out")
        return None
    if kind.limits is not None:
        low, high = kind.limits
        return table.integer("sentinel", None, low, high, f"the stored integer, from {low} to {high}")
    if isinstance(value, float) and math.isnan(value):
        return value
    return table.number("sentinel", 0, -3.4e38, 3.4e38, "a number that float32 can hold, or nan")


def _registers(measurement: Measurement) -> str:
    if measurement.width == 1:
        return f"register {measurement.address}"
    return f"registers {measurement.address} to {measurement.end - 1}"
