"""Reads the measurements of a meter: its register map."""

from __future__ import annotations

import math

from smart_meter.config.names import IDENTIFIER, IDENTIFIER_HINT, UNIT, UNIT_HINT, check_unique
from smart_meter.config.settings import (
    Bool,
    CustomSetting,
    Integer,
    Number,
    Setting,
    Text,
    choices,
    read_values,
)
from smart_meter.config.toml_table import Table, show
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement
from smart_meter.registers.word_order import WordOrder

MAX_REGISTER = 0xFFFF  # Application Protocol V1.1b3, 4.4
_BIG = 1e12
_VALUE = "value = stored / scale + offset"
_STORED = "a number over 0, at most 1e9: stored number = (value - offset) x scale"
SETTINGS: dict[str, Setting] = {
    "name": Text("The measurement's name.", IDENTIFIER_HINT, IDENTIFIER),
    "address": Integer("Its first register.", 0, MAX_REGISTER, "a register"),
    "type": choices("How it is stored.", DataType),
    "word_order": choices("Which of two registers holds the high word: big, the first.", WordOrder),
    "scale": Number(f"Its scale: {_VALUE}.", 1e-9, 1e9, _STORED),
    "offset": Number(f"Its offset: {_VALUE}.", -_BIG, _BIG, f"a number: {_VALUE}"),
    "minimum": Number("The lowest plausible value.", -_BIG, _BIG, "the lowest value that is plausible"),
    "maximum": Number("The highest plausible value.", -_BIG, _BIG, "the highest value that is plausible"),
    "unit": Text("Its engineering unit.", UNIT_HINT, UNIT),
    "decimals": Integer("Decimals in the journal.", 0, 6),
    "sentinel": CustomSetting(
        "The stored number that stands for no value; .nan for a float32.",
        "a number that the type can store; without it, the type's own",
        "float",
    ),
    "no_value": Bool(
        "Whether a sender that sends the sentinel has no value.",
        "true or false; without it, true for int16, int32 and float32, false for the others",
    ),
}
"""The settings of one measurement, by the fields of `Measurement`."""
OPTIONAL = ("minimum", "maximum", "no_value")


def read_measurements(tables: list[Table], *, sentinels: bool = False) -> tuple[Measurement, ...]:
    """Return the valid measurements; the problems of the others are added to their tables.

    sentinels: whether readers of a stale meter get each measurement's sentinel.
    """
    measurements = [_read_measurement(table) for table in tables]
    for table, measurement in zip(tables, measurements, strict=True):
        if measurement is not None and measurement.limited:
            _check_range(table, measurement, sentinels=sentinels)
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
    values = read_values(table, SETTINGS, Measurement._field_defaults)
    sentinel = None if values["type"] is None else _read_sentinel(table, values["type"])
    table.close()
    if any(values[name] is None for name in values if name not in OPTIONAL):
        return None
    measurement = Measurement(**values, sentinel=sentinel)
    return measurement if _check_together(table, measurement) else None


def _check_together(table: Table, measurement: Measurement) -> bool:
    """Add the problems of keys that contradict each other; return whether its registers exist."""
    low, high = measurement.minimum, measurement.maximum
    if not _in_order(measurement):
        table.problem("minimum", f"{show(low)} is over maximum, {show(high)}; swap them")
    if measurement.width == 1 and measurement.word_order is not WordOrder.BIG:
        fault = f"{show(measurement.word_order.value)} for {measurement.type.value}, which is one register"
        table.problem("word_order", f"{fault}; leave the key out")
    if measurement.type is DataType.TIMESTAMP:
        for key, wrong in (("scale", measurement.scale != 1), ("offset", measurement.offset != 0)):
            if wrong:
                what = "Unix seconds have scale 1 and offset 0, leave the key out"
                table.problem(key, f"{show(table.data[key])} for a timestamp; {what}")
        if measurement.no_value is not None:
            table.problem(
                "no_value",
                f"{show(measurement.no_value)} for a timestamp, which always is a value; leave the key out",
            )
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


def _check_range(table: Table, measurement: Measurement, *, sentinels: bool) -> None:
    """Note a range that the data type can't hold, and a sentinel that lies in the range.

    sentinels: whether readers of a stale meter get each measurement's sentinel.
    """
    limits = measurement.type.limits
    low, high = measurement.stored_limits
    if measurement.type is DataType.TIMESTAMP or not _in_order(measurement):
        return  # That is noted already.
    outside = [
        (key, stored)
        for key, stored in (("minimum", low), ("maximum", high))
        if limits is not None and math.isfinite(stored) and not limits[0] <= stored <= limits[1]
    ]
    if outside and limits is not None:
        least, most = (f"{limit / measurement.scale + measurement.offset:.12g}" for limit in limits)
        held = f"outside {limits[0]} to {limits[1]} of {measurement.type.value}; give {least} to {most}"
        for key, stored in outside:
            table.problem(key, f"{show(table.data[key])} is stored as {stored}, {held}")
    elif low > high:
        span = f"{show(measurement.minimum)} to maximum, {show(measurement.maximum)}"
        held = f"holds no value that {measurement.type.value} can store with this scale and offset"
        table.problem("minimum", f"{span}, {held}; widen the range")
    else:
        _check_sentinel(table, measurement, sentinels=sentinels)


def _in_order(measurement: Measurement) -> bool:
    low, high = measurement.minimum, measurement.maximum
    return low is None or high is None or low <= high


def _check_sentinel(table: Table, measurement: Measurement, *, sentinels: bool) -> None:
    """Note a sentinel that lies in the range, so that nobody can distinguish it from a value.

    The type's own counts only if it is used, and if both limits are set: it is the last number of the type.
    """
    own = measurement.type.sentinel
    if own is None:
        return
    number = measurement.type.nearest(own if measurement.sentinel is None else measurement.sentinel)
    low, high = measurement.stored_limits
    if not low <= number <= high:
        return
    if number != own:
        value = show(table.data["sentinel"])
        table.problem("sentinel", f"{value} lies in the range, so it is a value; give one outside")
    elif (
        math.isfinite(low) and math.isfinite(high) and (sentinels or measurement.no_value_number is not None)
    ):
        fault = f"{number}, the type's own, lies in the range, so it is a value"
        instead = "" if sentinels else ", or no_value = false"
        table.problem("sentinel", f"{fault}; give one outside{instead}")


def _read_sentinel(table: Table, kind: DataType) -> float | None:
    value = table.anything("sentinel")
    if value is None:
        return None
    if kind is DataType.TIMESTAMP:
        table.problem("sentinel", "a timestamp has no sentinel; leave the key out")
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
