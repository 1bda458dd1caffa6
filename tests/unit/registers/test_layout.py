"""A map's registers without its gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.registers.data_types import DataType
from smart_meter.registers.layout import Layout
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap

FAR = RegisterMap((Measurement("a", 40083), Measurement("b", 57716, DataType.UINT32)))
maps = st.lists(
    st.builds(Measurement, st.just("m"), st.integers(0, 60), st.sampled_from(DataType)), min_size=1
).map(lambda parts: RegisterMap(tuple(parts)))


def test_three_registers_far_apart_take_six_bytes() -> None:
    layout = Layout(FAR)
    span = b"\0\7" + bytes(2 * (57716 - 40084)) + b"\1\2\3\4"
    assert (layout.size, layout.span_size, layout.has_gaps) == (6, len(span), True)
    assert layout.pack(span) == b"\0\7\1\2\3\4"
    assert layout.unpack(layout.pack(span)) == span
    assert layout.index == {40083: 0, 57716: 1, 57717: 2}


def test_a_map_without_gaps_is_its_span() -> None:
    layout = Layout(PV_MAP)
    assert (layout.size, layout.has_gaps) == (layout.span_size, False)
    assert layout.pack(bytes(range(16))) == layout.unpack(bytes(range(16))) == bytes(range(16))


@given(maps)
def test_measurements_keep_their_values_and_gaps_become_0(register_map: RegisterMap) -> None:
    layout = Layout(register_map)
    span = bytes(number % 251 + 1 for number in range(layout.span_size))
    again = layout.unpack(layout.pack(span))
    start = register_map.start
    for address in range(start, register_map.end):
        place = slice(2 * (address - start), 2 * (address - start) + 2)
        assert again[place] == (span[place] if address in register_map.addresses else b"\0\0")


def test_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="the map has 6 bytes of registers, not 4"):
        Layout(FAR).unpack(b"1234")
