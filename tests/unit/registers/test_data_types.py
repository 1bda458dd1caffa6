"""The table of data types, and integers that stay integers."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

from smart_meter.registers.data_types import DataType, Kind
from smart_meter.registers.register_map import PV_MAP, Measurement
from smart_meter.registers.word_order import WordOrder
from tests.unit.wire import SAMPLE_REGISTERS


def test_each_type_is_found_by_its_name() -> None:
    assert [DataType(kind.value) for kind in DataType] == list(DataType)
    with pytest.raises(ValueError, match="uint8"):
        DataType("uint8")


@pytest.mark.parametrize("kind", [kind for kind in DataType if kind.limits])
@pytest.mark.parametrize("order", WordOrder)
def test_both_limits_are_decoded_as_they_were_encoded(kind: DataType, order: WordOrder) -> None:
    measurement = Measurement("x", 0, kind, word_order=order)
    assert kind.limits is not None
    for limit in kind.limits:
        registers = measurement.encode(limit)
        assert len(registers) == kind.width
        decoded = measurement.decode(registers)
        assert (decoded, type(decoded)) == (limit, int)


@pytest.mark.parametrize("kind", [kind for kind in DataType if kind.limits])
def test_a_number_outside_the_limits_is_refused(kind: DataType) -> None:
    assert kind.limits is not None
    low, high = kind.limits
    for number in (low - 1, high + 1):
        with pytest.raises(ValueError, match=f"outside {low} to {high}"):
            Measurement("x", 0, kind).encode(number)


@pytest.mark.parametrize("order", WordOrder)
def test_floats_come_back_to_the_last_bit(order: WordOrder) -> None:
    measurement = Measurement("x", 0, DataType.FLOAT32, word_order=order)
    for stored in (3.4028234663852886e38, -3.4028234663852886e38, 1.4e-45, math.inf, math.nan):
        decoded = measurement.decode(measurement.encode(stored))
        assert isinstance(decoded, float)
        assert struct.pack(">f", decoded) == struct.pack(">f", stored)


def test_a_type_is_an_integer_or_not() -> None:
    assert [kind for kind in DataType if not kind.integral] == [DataType.FLOAT32]
    assert [kind for kind in DataType if kind.kind is Kind.TIMESTAMP] == [DataType.TIMESTAMP]


def test_integers_without_scale_and_offset_stay_integers() -> None:
    decoded = PV_MAP.decode(SAMPLE_REGISTERS)
    whole = {name for name, value in decoded.items() if isinstance(value, int)}
    assert whole == {"P_ac", "P_dc", "G", "Timestamp"}


@pytest.mark.parametrize(
    "change", [{"scale": 10}, {"offset": 0.5}, {"offset": -40}, {"type": DataType.FLOAT32}]
)
def test_a_scaled_shifted_or_floating_point_measurement_is_a_float(change: dict[str, Any]) -> None:
    measurement = Measurement("x", 0)._replace(**change)
    assert isinstance(measurement.decode([0] * measurement.width), float)


@pytest.mark.parametrize("decimals", [0, 1, 6])
@pytest.mark.parametrize("value", [0, 250, -250, 4294967295])
def test_an_integer_is_formatted_like_the_float_of_the_same_value(value: int, decimals: int) -> None:
    measurement = Measurement("x", 0, decimals=decimals, unit="W")
    assert measurement.format(value) == measurement.format(float(value)) == f"{float(value):.{decimals}f}W"
    assert measurement.format_number(value) == measurement.format_number(float(value))
