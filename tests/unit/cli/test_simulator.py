import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.cli.simulator import DAY_SECONDS, PvDay
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap

NOON = 12 * 3600.0


def test_the_same_seed_gives_the_same_day() -> None:
    assert PvDay(7).values(NOON) == PvDay(7).values(NOON)
    assert PvDay(7).values(NOON) != PvDay(8).values(NOON)


def test_there_is_no_power_at_night() -> None:
    for hour in (0, 3, 5.9, 18.1, 23):
        values = PvDay().values(hour * 3600)
        assert (values["P_ac"], values["P_dc"], values["V_dc"], values["I_dc"], values["G"]) == (
            0,
            0,
            0,
            0,
            0,
        )


@given(st.integers(0, 1000), st.floats(0, 2 * DAY_SECONDS))
def test_every_moment_is_physically_plausible(seed: int, second: float) -> None:
    values = PvDay(seed).values(second)
    assert 0 <= values["G"] <= 1000
    assert 0 <= values["P_ac"] <= values["P_dc"] <= 333
    assert values["P_dc"] == pytest.approx(values["V_dc"] * values["I_dc"])
    assert 0 <= values["V_dc"] < 55
    assert 5 < values["T_cell"] < 60


def test_there_are_clouds() -> None:
    day = [PvDay().values(second)["G"] for second in range(9 * 3600, 15 * 3600, 60)]
    falls = [before - after for before, after in itertools.pairwise(day) if before > after]
    assert max(day) > 600
    assert min(day) < 0.8 * max(day)
    assert len(falls) > 20


@given(st.floats(0, DAY_SECONDS))
def test_the_registers_hold_the_values_to_their_resolution(second: float) -> None:
    day = PvDay(3)
    decoded = PV_MAP.decode(day.registers(PV_MAP, second, 1451628000))
    assert decoded["Timestamp"] == 1451628000
    for name, value in day.values(second).items():
        scale = next(m.scale for m in PV_MAP.measurements if m.name == name)
        assert decoded[name] == pytest.approx(value, abs=0.51 / scale)


def test_unknown_measurements_and_values_that_do_not_fit_get_plausible_values() -> None:
    odd = RegisterMap(
        (
            Measurement("P_ac", 10, scale=1000),
            Measurement("humidity", 12),
            Measurement("t", 20, DataType.TIMESTAMP),
        )
    )
    registers = PvDay().registers(odd, NOON, 60)
    assert len(registers) == 12
    assert registers[0] == 0xFFFF
    assert 0 < registers[2] <= 100
    assert registers[10:] == [0, 60]


def test_every_type_gets_a_value_that_fits_and_is_in_range() -> None:
    types = [t for t in DataType if t is not DataType.TIMESTAMP]
    odd = RegisterMap(
        tuple(
            Measurement(f"P{n}", 10 * n, t, scale=1e6, offset=-40, minimum=-20, maximum=90.5)
            for n, t in enumerate(types)
        )
    )
    for second in (0, NOON):
        decoded = [m.decode(PvDay().registers(odd, second, 0)[m.address : m.end]) for m in odd.measurements]
        assert all(-40.1 <= value <= 90.6 for value in decoded)


@given(
    st.sampled_from([t for t in DataType if t is not DataType.TIMESTAMP]),
    st.floats(1e-9, 1e9),
    st.floats(-1e12, 1e12),
    st.none() | st.floats(-1e12, 1e12),
    st.none() | st.floats(-1e12, 1e12),
)
def test_every_valid_scale_offset_and_range_gives_registers(
    kind: DataType, scale: float, offset: float, minimum: float | None, maximum: float | None
) -> None:
    odd = Measurement("P_ac", 0, kind, scale, offset=offset, minimum=minimum, maximum=maximum)
    assert len(PvDay().registers(RegisterMap((odd,)), NOON, 0)) == kind.width
