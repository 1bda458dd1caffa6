from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.register_map import PV_MAP, DataType, Measurement, RegisterMap
from tests.unit.wire import SAMPLE_REGISTERS


def test_the_documented_registers_are_decoded_with_their_scales() -> None:
    assert PV_MAP.decode(SAMPLE_REGISTERS) == {
        "P_ac": 250,
        "P_dc": 260,
        "V_dc": 48.5,
        "I_dc": 5.36,
        "G": 850,
        "T_cell": 45.6,
        "Timestamp": 1451628000,
    }


def test_the_pv_map_is_eight_registers_from_0() -> None:
    assert (PV_MAP.start, PV_MAP.end, PV_MAP.quantity) == (0, 8, 8)
    assert PV_MAP.addresses == set(range(8))
    assert PV_MAP.timestamp is not None
    assert PV_MAP.timestamp.address == 6


def test_a_map_may_have_gaps_and_any_order() -> None:
    gappy = RegisterMap((Measurement("b", 110), Measurement("a", 100, scale=10), Measurement("c", 104)))
    assert (gappy.start, gappy.end, gappy.quantity) == (100, 111, 11)
    assert gappy.addresses == {100, 104, 110}
    assert gappy.timestamp is None
    registers = gappy.encode({"a": 1.5, "b": 7})
    assert registers == [15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]
    assert list(gappy.decode(registers).items()) == [("b", 7), ("a", 1.5), ("c", 0)]


@given(st.lists(st.integers(0, 0xFFFF), min_size=8, max_size=8))
def test_what_is_decoded_encodes_to_the_same_registers(registers: list[int]) -> None:
    assert PV_MAP.encode(PV_MAP.decode(registers)) == registers


@pytest.mark.parametrize("value", [-0.1, 6553.6, 1e30])
def test_a_value_that_does_not_fit_its_register_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"T_cell: .* outside 0 to 65535"):
        Measurement("T_cell", 0, scale=10).encode(value)


@pytest.mark.parametrize("value", [1e308, -1e308, float("inf"), float("nan")])
def test_a_value_beyond_all_numbers_is_refused_like_any_other(value: float) -> None:
    with pytest.raises(ValueError, match=r"T_cell: .* can't be stored as uint16"):
        Measurement("T_cell", 0, scale=10).encode(value)


def test_a_wrong_number_of_registers_is_refused() -> None:
    with pytest.raises(ValueError, match="Timestamp takes 2 registers, not 1"):
        Measurement("Timestamp", 0, DataType.TIMESTAMP).decode([1])


@pytest.mark.parametrize(
    ("decimals", "unit", "shown"), [(0, "W", "49W"), (2, "V", "48.50V"), (6, "", "48.500000")]
)
def test_a_value_is_shown_with_its_decimals_and_unit(decimals: int, unit: str, shown: str) -> None:
    assert Measurement("x", 0, unit=unit, decimals=decimals).format(48.5 + (decimals == 0) / 10) == shown


CHANGES = [
    {"name": "Y"},
    {"address": 1},
    {"type": DataType.TIMESTAMP},
    {"scale": 100},
    {"unit": "kW"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_the_fingerprint_changes_with_whatever_gives_a_register_its_meaning(change: dict[str, Any]) -> None:
    one = Measurement("X", 0, scale=10, unit="W")
    assert RegisterMap((one,)).fingerprint != RegisterMap((one._replace(**change),)).fingerprint


def test_the_fingerprint_does_not_change_with_what_is_the_journals() -> None:
    shown = tuple(m._replace(decimals=3, scale=float(m.scale)) for m in reversed(PV_MAP.measurements))
    assert RegisterMap(shown).fingerprint == PV_MAP.fingerprint


def test_the_fingerprint_of_the_documented_map_is_the_same_on_every_machine() -> None:
    assert PV_MAP.fingerprint == "a6e383d7"
