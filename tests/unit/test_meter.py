import struct

import pytest

from smart_meter.config import MeterConfig
from smart_meter.meter import Meter
from smart_meter.register_map import PV_MAP, DataType, Measurement, RegisterMap
from smart_meter.telemetry import Sample
from tests.unit.wire import SAMPLE_REGISTERS


def fill(meter: Meter, registers: tuple[int, ...] = SAMPLE_REGISTERS) -> None:
    meter.bank.data[:] = struct.pack(f">{len(registers)}H", *registers)


@pytest.fixture
def pv() -> Meter:
    meter = Meter(MeterConfig("pv", 1, PV_MAP))
    fill(meter)
    return meter


def test_one_write_over_the_whole_map_completes_a_sample(pv: Meter) -> None:
    sample = pv.written(0, 8, now=5.0, wall=1700000000.0)
    values = {"P_ac": 250, "P_dc": 260, "V_dc": 48.5, "I_dc": 5.36, "G": 850, "T_cell": 45.6}
    assert sample == Sample("pv", values, 1451628000, 5.0, 1700000000.0)
    assert pv.last_sample is sample


def test_each_whole_write_is_a_sample_of_its_own(pv: Meter) -> None:
    assert pv.written(0, 8, 1.0, 1.0)
    assert pv.written(0, 8, 2.0, 2.0)


def test_registers_that_come_one_by_one_complete_a_sample_with_the_last(pv: Meter) -> None:
    order = [3, 0, 7, 1, 2, 6, 5]
    assert [pv.written(address, 1, 1.0, 1.0) for address in order] == [None] * 7
    assert pv.written(4, 1, 2.0, 2.0) is not None
    assert pv.written(4, 1, 3.0, 3.0) is None


def test_a_register_that_is_written_again_begins_a_new_sample(pv: Meter) -> None:
    for address in range(7):
        pv.written(address, 1, 1.0, 1.0)
    assert pv.written(0, 1, 2.0, 2.0) is None
    assert pv.written(7, 1, 2.0, 2.0) is None
    assert [pv.written(address, 1, 3.0, 3.0) is not None for address in range(1, 7)] == [False] * 5 + [True]


def test_a_whole_write_after_a_half_one_is_one_sample(pv: Meter) -> None:
    assert pv.written(0, 4, 1.0, 1.0) is None
    assert pv.written(0, 8, 2.0, 2.0) is not None
    assert pv.written(4, 4, 3.0, 3.0) is None


def test_two_halves_are_one_sample(pv: Meter) -> None:
    assert pv.written(4, 4, 1.0, 1.0) is None
    assert pv.written(0, 4, 2.0, 2.0) is not None


def test_gaps_need_not_be_written() -> None:
    gappy = RegisterMap((Measurement("a", 100), Measurement("b", 110)))
    meter = Meter(MeterConfig("gappy", 1, gappy))
    assert meter.written(105, 1, 1.0, 1.0) is None
    assert meter.written(100, 1, 1.0, 1.0) is None
    assert meter.written(105, 5, 1.0, 1.0) is None
    sample = meter.written(110, 1, 1.0, 1.0)
    assert sample is not None
    assert sample.measured is None


def test_the_sample_keeps_its_values_when_the_registers_change(pv: Meter) -> None:
    sample = pv.written(0, 8, 1.0, 1.0)
    fill(pv, (0,) * 8)
    assert sample is not None
    assert sample.values["P_ac"] == 250


def test_age_counts_from_the_arrival_not_from_the_timestamp(pv: Meter) -> None:
    assert pv.age(10.0) is None
    pv.written(0, 8, 10.0, 1700000000.0)
    assert pv.age(12.5) == 2.5


def test_a_timestamp_alone_can_be_a_map() -> None:
    meter = Meter(MeterConfig("clock", 1, RegisterMap((Measurement("t", 0, DataType.TIMESTAMP),))))
    fill(meter, (0, 60))
    sample = meter.written(0, 2, 1.0, 1.0)
    assert sample == Sample("clock", {}, 60, 1.0, 1.0)
