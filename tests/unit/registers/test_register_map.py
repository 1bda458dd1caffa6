import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.cli.simulator import DAY_SECONDS, PvDay
from smart_meter.registers.data_types import DataType
from smart_meter.registers.ranges import MapRanges
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder
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
def test_a_value_whose_scaled_number_is_infinite_is_refused(value: float) -> None:
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
def test_the_fingerprint_changes_with_the_meaning_of_a_register(change: dict[str, Any]) -> None:
    one = Measurement("X", 0, scale=10, unit="W")
    assert RegisterMap((one,)).fingerprint != RegisterMap((one._replace(**change),)).fingerprint


def test_the_fingerprint_does_not_depend_on_how_values_are_logged() -> None:
    shown = tuple(m._replace(decimals=3, scale=float(m.scale)) for m in reversed(PV_MAP.measurements))
    assert RegisterMap(shown).fingerprint == PV_MAP.fingerprint


def test_the_fingerprint_of_the_documented_map_is_the_same_on_every_machine() -> None:
    assert PV_MAP.fingerprint == "a6e383d7"


def test_the_default_maps_ranges_are_plausible_and_hold_a_whole_day() -> None:
    [*measured, timestamp] = PV_MAP.measurements
    assert all(m.minimum == 0 and m.maximum is not None for m in measured)
    assert not timestamp.limited
    ranges = MapRanges(PV_MAP)
    for second in range(0, DAY_SECONDS, 600):
        registers = PvDay().registers(PV_MAP, second, 1451628000)
        assert ranges.out_of_range(struct.pack(">8H", *registers)) == 0
    registers[5] = 6540
    assert ranges.out_of_range(struct.pack(">8H", *registers)) == 1 << 5


def _map(*places: tuple[int, DataType]) -> RegisterMap:
    return RegisterMap(tuple(Measurement(f"m{n}", address, kind) for n, (address, kind) in enumerate(places)))


def test_a_map_that_fits_is_one_request_gaps_included() -> None:
    assert PV_MAP.spans(123) == [(0, 8)]
    assert _map((122, DataType.UINT16), (0, DataType.UINT16)).spans(123) == [(0, 123)]


def test_a_long_map_takes_several_requests_and_no_measurement_is_split() -> None:
    long = _map(*((2 * n, DataType.UINT32) for n in range(100)))
    assert long.spans(123) == [(0, 122), (122, 78)]
    assert long.spans(2) == [(2 * n, 2) for n in range(100)]


def test_a_wide_gap_is_not_read() -> None:
    wide = _map((60000, DataType.UINT16), (0, DataType.UINT16), (65534, DataType.FLOAT32))
    assert wide.spans(123) == [(0, 1), (60000, 1), (65534, 2)]


NAN = [0x7FC0, 0]


@pytest.mark.parametrize(
    ("changes", "registers", "expected"),
    [
        ({"type": DataType.INT16}, [0x8000], True),
        ({"type": DataType.INT16}, [0x8001], False),
        ({"type": DataType.INT16, "no_value": False}, [0x8000], False),
        ({"type": DataType.INT16, "sentinel": -9999}, [0x10000 - 9999], True),
        ({"type": DataType.INT16, "sentinel": -9999}, [0x8000], False),
        ({"type": DataType.INT32}, [0x8000, 0], True),
        ({"type": DataType.INT32, "word_order": WordOrder.LITTLE}, [0, 0x8000], True),
        ({"type": DataType.INT32, "word_order": WordOrder.LITTLE}, [0x8000, 0], False),
        ({"type": DataType.UINT16}, [0xFFFF], False),
        ({"type": DataType.UINT16, "no_value": True}, [0xFFFF], True),
        ({"type": DataType.UINT16, "no_value": True, "sentinel": 0}, [0], True),
        ({"type": DataType.UINT32}, [0xFFFF, 0xFFFF], False),
        ({"type": DataType.UINT32, "no_value": True}, [0xFFFF, 0xFFFF], True),
        ({"type": DataType.FLOAT32}, NAN, True),
        ({"type": DataType.FLOAT32}, [0xFFFF, 0xFFFF], True),
        ({"type": DataType.FLOAT32}, [0x7F80, 0], False),
        ({"type": DataType.FLOAT32, "sentinel": -0.1}, [0xBDCC, 0xCCCD], True),
        ({"type": DataType.FLOAT32, "sentinel": -0.1}, NAN, True),
        ({"type": DataType.FLOAT32, "no_value": False}, NAN, False),
        ({"type": DataType.TIMESTAMP}, [0xFFFF, 0xFFFF], False),
    ],
)
def test_the_senders_no_value_is_a_signed_or_floating_point_types_sentinel_by_default(
    changes: dict[str, Any], registers: list[int], expected: bool
) -> None:
    measurement = Measurement("x", 0, **changes)
    assert measurement.is_no_value(registers) == expected
    assert (RegisterMap((measurement,)).values(registers)["x"] is None) == expected
    unlimited = measurement._replace(minimum=-1e12, maximum=1e12)
    assert unlimited.in_range(registers) == (not expected and registers not in (NAN, [0x7F80, 0]))


def test_no_value_changes_no_fingerprint() -> None:
    [*others, timestamp] = PV_MAP.measurements
    chosen = RegisterMap((*(m._replace(no_value=True) for m in others), timestamp))
    assert chosen.fingerprint == PV_MAP.fingerprint


def test_a_sentinel_is_recognized_by_its_registers() -> None:
    assert Measurement("a", 0).is_sentinel([0xFFFF])
    assert not Measurement("a", 0, sentinel=0).is_sentinel([0xFFFF])
    assert Measurement("a", 0, sentinel=0).is_sentinel([0])
    assert not Measurement("a", 0, DataType.TIMESTAMP).is_sentinel([0xFFFF, 0xFFFF])
    little = Measurement("a", 0, DataType.INT32, word_order=WordOrder.LITTLE)
    assert little.is_sentinel([0, 0x8000])
    assert not little.is_sentinel([0x8000, 0])
    number = Measurement("a", 0, DataType.FLOAT32)
    assert number.is_sentinel([0x7FC0, 0])
    assert number.is_sentinel([0xFFFF, 0xFFFF])
    assert not number.is_sentinel([0x7F80, 0])
    assert not Measurement("a", 0, DataType.FLOAT32, sentinel=-1).is_sentinel([0x7FC0, 0])
