"""Ranges by stored numbers agree with ranges by values in exact arithmetic."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.registers.data_types import DataType
from smart_meter.registers.ranges import MapRanges
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder

LIMITS = st.none() | st.integers(-(10**6), 10**6) | st.decimals(-1000, 1000, places=3).map(float)
SCALES = st.sampled_from([1, 2, 3, 10, 100, 0.1, 0.5])
OFFSETS = st.sampled_from([0, -40, 0.1, -273.15])
INTEGERS = st.sampled_from([kind for kind in DataType if kind.limits and kind.sentinel is not None])


@st.composite
def measurements(draw: st.DrawFn) -> tuple[Measurement, ...]:
    placed: list[Measurement] = []
    address = draw(st.integers(0, 3))
    for number in range(draw(st.integers(1, 4))):
        kind = draw(INTEGERS)
        order = draw(st.sampled_from(WordOrder)) if kind.width > 1 else WordOrder.BIG
        limits = draw(LIMITS), draw(LIMITS)
        one = Measurement(
            f"m{number}", address, kind, draw(SCALES), "", 1, order, draw(OFFSETS), limits[0], limits[1]
        )
        sentinel = draw(st.none() | st.integers(*kind.limits or (0, 0)))
        one = one._replace(sentinel=sentinel, no_value=draw(st.sampled_from([None, True, False])))
        placed.append(one)
        address = one.end + draw(st.integers(0, 2))
    return tuple(draw(st.permutations(placed)))


def exactly_in_range(measurement: Measurement, stored: int) -> bool:
    if stored == measurement.no_value_number:
        return not measurement.limited
    value = Fraction(stored) / Fraction(str(measurement.scale)) + Fraction(str(measurement.offset))
    low, high = measurement.minimum, measurement.maximum
    return (low is None or value >= Fraction(str(low))) and (high is None or value <= Fraction(str(high)))


@given(measurements(), st.data())
def test_a_flag_is_set_exactly_if_the_value_is_outside(
    chosen: tuple[Measurement, ...], data: st.DataObject
) -> None:
    register_map = RegisterMap(chosen)
    registers = [0] * register_map.quantity
    expected = 0
    for index, one in enumerate(chosen):
        low, high = one.type.limits or (0, 0)
        edges = (*one.stored_limits, one.no_value_number or 0)
        near = [n for edge in edges if abs(edge) < 2**32 for n in (edge - 1, edge, edge + 1)]
        stored = data.draw(st.integers(low, high) | st.sampled_from([int(n) for n in near] or [0]))
        stored = min(max(stored, low), high)
        own = one.type.pack(stored)
        if one.word_order is WordOrder.LITTLE:
            own.reverse()
        first = one.address - register_map.start
        registers[first : first + one.width] = own
        expected |= (not exactly_in_range(one, stored)) << index
    image = struct.pack(f">{len(registers)}H", *registers)
    assert MapRanges(register_map).out_of_range(image) == expected


def test_a_map_without_limits_has_no_ranges() -> None:
    plain = RegisterMap(tuple(m._replace(minimum=None, maximum=None) for m in PV_MAP.measurements))
    assert not MapRanges(plain)
    assert MapRanges(plain).out_of_range(bytes(16)) == 0


@pytest.mark.parametrize("highest", [0, 100, 0x7FFE, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF])
def test_values_on_either_side_of_the_highest_are_found_beside_values_without_a_range(highest: int) -> None:
    register_map = RegisterMap(
        (
            Measurement("before", 0, DataType.UINT32),
            Measurement("limited", 2, minimum=0, maximum=highest),
            Measurement("wide", 3, DataType.UINT32, minimum=0, maximum=highest),
            Measurement("after", 6),
        )
    )
    ranges = MapRanges(register_map)
    for number in {0, highest - 1, highest, highest + 1, 0x7FFF, 0x8000, 0xFFFF} & set(range(0x10000)):
        for others in (0, 0xFFFF):
            registers = (others, others, number, 0, number, others, others)
            expected = 0b110 if number > highest else 0
            assert ranges.out_of_range(struct.pack(">7H", *registers)) == expected
