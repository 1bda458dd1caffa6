import math
import struct
from typing import Any

import pytest

from smart_meter.config import MeterConfig, OnStale, OutOfRange, Publish
from smart_meter.meters.events import BecameFresh, BecameStale, SampleCompleted, SampleDropped, ValueRefused
from smart_meter.meters.meter import Meter
from smart_meter.meters.statistics import SharedStatus
from smart_meter.registers import status_block
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from smart_meter.registers.status_block import State, Status
from smart_meter.registers.word_order import WordOrder
from tests.unit.wire import SAMPLE_REGISTERS

SAMPLE = struct.pack(">8H", *SAMPLE_REGISTERS)
PV = MeterConfig("pv", 1, PV_MAP)


def meter(register_map: RegisterMap = PV_MAP, **changes: Any) -> Meter:
    return Meter(PV._replace(map=register_map, **changes))


def write(target: Meter, address: int, *registers: int, now: float = 1.0) -> bool:
    """Write registers; return whether that completed a sample."""
    code, events = target.write(address, struct.pack(f">{len(registers)}H", *registers), now)
    assert code == 0
    return SampleCompleted("pv") in events


def registers_read(target: Meter) -> tuple[int, ...]:
    return struct.unpack(f">{len(target.view) // 2}H", target.view)


def status(target: Meter, now: float) -> Status:
    return status_block.decode(target.input_registers(now))


# When a sample is complete


def test_one_write_over_the_whole_map_completes_a_sample() -> None:
    pv = meter()
    assert pv.store(SAMPLE, 5.0) == (0, (SampleCompleted("pv"),))
    sample = pv.last_sample(1700000000.0)
    values = {"P_ac": 250, "P_dc": 260, "V_dc": 48.5, "I_dc": 5.36, "G": 850, "T_cell": 45.6}
    assert (sample.meter, sample.values, sample.measured) == ("pv", values, 1451628000)
    assert (sample.arrived, sample.arrived_wall, sample.out_of_range) == (5.0, 1700000000.0, frozenset())
    assert (pv.samples, pv.measured()) == (1, 1451628000)


def test_each_whole_write_is_a_sample_of_its_own() -> None:
    pv = meter()
    assert [write(pv, 0, *SAMPLE_REGISTERS) for _ in range(2)] == [True, True]
    assert pv.samples == 2


def test_registers_that_come_one_by_one_complete_a_sample_with_the_last() -> None:
    pv = meter(sample_starts_at=3)
    assert [write(pv, address, 1) for address in (3, 0, 7, 1, 2, 6, 5)] == [False] * 7
    assert write(pv, 4, 1, now=2.0)
    assert not write(pv, 4, 1, now=3.0)


def test_the_first_register_again_begins_a_new_sample() -> None:
    pv = meter()
    for address in range(7):
        write(pv, address, 1)
    assert not write(pv, 0, 1)
    assert [write(pv, address, 1) for address in range(1, 8)] == [False] * 6 + [True]
    assert pv.incomplete_samples == 1


def test_a_whole_write_after_a_half_one_is_one_sample() -> None:
    pv = meter()
    assert not write(pv, 0, 1, 2, 3, 4)
    code, (dropped, completed) = pv.store(SAMPLE, 2.0)
    assert (code, completed) == (0, SampleCompleted("pv"))
    assert isinstance(dropped, SampleDropped)
    assert not write(pv, 4, 1, 2, 3, 4)
    assert pv.samples == 1


def test_two_halves_are_one_sample() -> None:
    pv = meter(sample_starts_at=4)
    assert not write(pv, 4, 1, 2, 3, 4)
    assert write(pv, 0, 1, 2, 3, 4)


def test_gaps_need_not_be_written() -> None:
    gappy = meter(RegisterMap((Measurement("a", 100), Measurement("b", 110))))
    assert not write(gappy, 105, 1)
    assert not write(gappy, 100, 1)
    assert not write(gappy, 105, 1, 2, 3, 4, 5)
    assert write(gappy, 110, 1)
    assert gappy.measured() is None


def test_a_timestamp_alone_can_be_a_map_in_either_word_order() -> None:
    for order, registers in ((WordOrder.BIG, (1, 60)), (WordOrder.LITTLE, (60, 1))):
        clock = meter(RegisterMap((Measurement("t", 0, DataType.TIMESTAMP, word_order=order),)))
        assert write(clock, 0, *registers)
        assert clock.measured() == clock.last_sample(0.0).measured == 0x1003C


# Torn samples


def test_published_at_once_readers_see_each_register_as_it_comes() -> None:
    pv = meter()
    pv.store(SAMPLE, 1.0)
    write(pv, 0, 7)
    assert registers_read(pv) == (7, *SAMPLE_REGISTERS[1:])


def test_published_when_complete_readers_see_whole_samples_alone() -> None:
    pv = meter(publish=Publish.COMPLETE)
    pv.store(SAMPLE, 1.0)
    seen = set()
    for address in range(8):
        seen.add(registers_read(pv))
        write(pv, address, address + 1)
    assert seen == {SAMPLE_REGISTERS}
    assert registers_read(pv) == (1, 2, 3, 4, 5, 6, 7, 8)


# Freshness


def test_a_meter_waits_for_its_first_sample_and_its_values_are_held_by_default() -> None:
    pv = meter(stale_after=10)
    assert (pv.state, pv.age(5.0), pv.failure, registers_read(pv)) == (State.WAITING, None, 0, (0,) * 8)
    pv.store(SAMPLE, 10.0)
    assert (pv.state, pv.age(12.5)) == (State.FRESH, 2.5)
    assert pv.check(19.9) == ()
    assert pv.check(20.0) == (BecameStale("pv", 10.0),)
    assert (pv.state, pv.failure, registers_read(pv)) == (State.STALE, 0, SAMPLE_REGISTERS)
    assert pv.check(21.0) == ()


def test_age_counts_from_the_arrival_whatever_the_timestamp_says() -> None:
    pv = meter(stale_after=10)
    for timestamp in (0, 0xFFFF):
        pv.store(SAMPLE[:12] + struct.pack(">HH", timestamp, timestamp), 100.0)
        assert (pv.age(101.0), pv.state) == (1.0, State.FRESH)


def test_with_exceptions_a_stale_meter_fails_until_the_next_sample() -> None:
    pv = meter(stale_after=10, on_stale=OnStale.EXCEPTION)
    assert pv.failure == 0x0B
    pv.store(SAMPLE, 0.0)
    assert pv.failure == 0
    pv.check(10.0)
    assert pv.failure == 0x0B
    assert pv.store(SAMPLE, 11.0) == (0, (SampleCompleted("pv"), BecameFresh("pv")))
    assert pv.failure == 0


def test_with_sentinels_a_stale_meter_shows_them_and_its_timestamp() -> None:
    temperature = Measurement("T", 5, DataType.INT16, sentinel=-9999)
    sentinels = RegisterMap((*PV_MAP.measurements[:5], temperature, PV_MAP.measurements[6]))
    pv = meter(sentinels, stale_after=10, on_stale=OnStale.SENTINEL)
    no_values = (0xFFFF,) * 5 + (0x10000 - 9999,)
    assert registers_read(pv) == (*no_values, 0, 0)
    pv.store(SAMPLE, 0.0)
    assert registers_read(pv) == SAMPLE_REGISTERS
    pv.check(10.0)
    assert registers_read(pv) == (*no_values, *SAMPLE_REGISTERS[6:])
    write(pv, 0, 1)
    assert registers_read(pv)[0] == 0xFFFF
    pv.store(SAMPLE, 11.0)
    assert registers_read(pv) == SAMPLE_REGISTERS


def test_a_meter_that_is_never_stale_stays_fresh() -> None:
    pv = meter(stale_after=0)
    pv.store(SAMPLE, 0.0)
    assert pv.due == math.inf
    assert pv.check(1e9) == ()


# The range of values

TEMPERATURE = RegisterMap(
    (
        Measurement("P", 0, maximum=500),
        Measurement("T", 1, DataType.INT16, scale=10, minimum=-40, maximum=120),
        Measurement("E", 2, DataType.INT32, minimum=0),
    )
)


def test_a_value_out_of_range_is_taken_and_flagged() -> None:
    flagging = meter(TEMPERATURE)
    assert write(flagging, 0, 501, 1201, 0, 5)
    assert flagging.flags == 1
    assert flagging.last_sample(0.0).out_of_range == {"P", "T"}
    assert status(flagging, 1.0).out_of_range == 0b011
    assert write(flagging, 0, 500, 0x10000 - 400, 0, 0)
    assert (flagging.flags, status(flagging, 1.0).out_of_range) == (0, 0)


def test_a_value_out_of_range_is_refused_where_it_is_to_be() -> None:
    refusing = meter(TEMPERATURE, out_of_range=OutOfRange.REFUSE)
    write(refusing, 0, 1, 2, 0, 3)
    power, temperature, _ = TEMPERATURE.measurements
    assert refusing.write(1, struct.pack(">H", 1201), 1.5) == (3, (ValueRefused("pv", temperature, 120.1),))
    assert refusing.store(struct.pack(">4H", 501, 0, 0, 0), 2.0) == (3, (ValueRefused("pv", power, 501),))
    assert refusing.registers() == (1, 2, 0, 3)
    assert refusing.samples == 1


def test_half_a_value_is_not_judged_before_its_other_half_comes() -> None:
    refusing = meter(TEMPERATURE, out_of_range=OutOfRange.REFUSE)
    codes = [
        refusing.write(a, struct.pack(">H", v), 1.0)[0] for a, v in ((2, 0xFFFF), (3, 0xFFFF), (3, 0xFFFE))
    ]
    assert codes == [0, 3, 3]


@pytest.mark.parametrize(
    ("changes", "within", "outside"),
    [
        # In binary fractions 1 / 10 + 0.2 is over 0.3, 7 / 10 + 0.1 under 0.8, and 4.35 x 100 under 435.
        ({"scale": 10, "offset": 0.2, "maximum": 0.3}, 1, 2),
        ({"scale": 10, "offset": 0.1, "minimum": 0.8}, 7, 6),
        ({"scale": 100, "maximum": 4.35}, 435, 436),
        ({"scale": 100, "minimum": 1.15}, 115, 114),
        ({"scale": 10, "offset": -100, "minimum": -40.1}, 599, 598),
        ({"scale": 3, "maximum": 0.34}, 1, 2),
        ({"type": DataType.INT16, "scale": 10, "minimum": -0.3}, 0x10000 - 3, 0x10000 - 4),
        ({"type": DataType.INT16, "minimum": -7, "maximum": -7}, 0x10000 - 7, 0x10000 - 8),
    ],
)
@pytest.mark.parametrize("policy", OutOfRange)
def test_both_limits_are_in_range_to_the_last_decimal(
    changes: dict[str, Any], within: int, outside: int, policy: OutOfRange
) -> None:
    pv = meter(RegisterMap((Measurement("x", 0, **changes), Measurement("y", 1))), out_of_range=policy)
    assert write(pv, 0, within, 0)
    assert (pv.flags, status(pv, 1.0).out_of_range, pv.last_sample(0.0).out_of_range) == (0, 0, frozenset())
    code, _ = pv.write(0, struct.pack(">2H", outside, 0), 2.0)
    assert code == (3 if policy is OutOfRange.REFUSE else 0)
    assert status(pv, 1.0).out_of_range == (0 if code else 1)


def test_the_limits_of_a_float_are_in_range() -> None:
    limited = Measurement("x", 0, DataType.FLOAT32, minimum=-0.1, maximum=0.7)
    pv = meter(RegisterMap((limited,)))
    for value, flag in ((0.7, 0), (-0.1, 0), (0.70000005, 1), (-0.10000001, 1), (math.inf, 1), (math.nan, 1)):
        write(pv, 0, *limited.encode(value))
        assert status(pv, 1.0).out_of_range == flag, value


NO_VALUES = RegisterMap(
    (
        Measurement("T", 0, DataType.INT16, scale=10, maximum=90),
        Measurement("E", 1, DataType.FLOAT32, minimum=0),
        Measurement("P", 3, maximum=60000, no_value=True),
        Measurement("F", 4, DataType.INT16),
    )
)


@pytest.mark.parametrize("policy", OutOfRange)
def test_no_value_of_the_sender_is_in_no_range_and_is_not_refused(policy: OutOfRange) -> None:
    pv = meter(NO_VALUES, out_of_range=policy)
    assert write(pv, 0, 0x8000, 0x7FC0, 0, 0xFFFF, 0x8000)
    sample = pv.last_sample(0.0)
    assert sample.values == {"T": None, "E": None, "P": None, "F": None}
    # The fourth has no range.
    assert sample.out_of_range == {"T", "E", "P"}
    assert (pv.flags, status(pv, 1.0).out_of_range) == (1, 0b0111)
    assert write(pv, 0, 455, 0x3F80, 0, 5, 7, now=2.0)
    assert pv.last_sample(0.0).values == {"T": 45.5, "E": 1.0, "P": 5, "F": 7}
    assert (pv.flags, status(pv, 2.0).out_of_range) == (0, 0)


def test_a_value_beside_no_value_is_refused() -> None:
    pv = meter(NO_VALUES, out_of_range=OutOfRange.REFUSE)
    code, events = pv.store(struct.pack(">5H", 0x8000, 0xBF80, 0, 0xFFFF, 0), 1.0)
    assert (code, events) == (3, (ValueRefused("pv", NO_VALUES.measurements[1], -1.0),))


def test_a_single_register_that_readers_see_at_once_is_flagged_at_once() -> None:
    hot = RegisterMap(
        (*PV_MAP.measurements[:5], PV_MAP.measurements[5]._replace(maximum=90), PV_MAP.measurements[6])
    )
    pv = meter(hot)
    pv.store(SAMPLE, 1.0)
    write(pv, 5, 6540)
    assert (registers_read(pv)[5], status(pv, 2.0).out_of_range) == (6540, 1 << 5)
    write(pv, 5, 900)
    assert status(pv, 2.0).out_of_range == 0


def test_a_value_that_readers_do_not_see_yet_is_not_flagged_yet() -> None:
    pv = meter(TEMPERATURE, publish=Publish.COMPLETE)
    write(pv, 0, 1, 2, 0, 3)
    write(pv, 0, 501)
    assert status(pv, 1.0).out_of_range == 0
    taken_over = meter(TEMPERATURE, publish=Publish.COMPLETE)
    taken_over.take_over(pv, 2.0)
    assert status(taken_over, 2.0).out_of_range == 0
    assert write(taken_over, 1, 2, 0, 3)
    assert status(taken_over, 3.0).out_of_range == 1


# The status block


def test_the_status_block_tells_state_age_counts_and_map() -> None:
    pv = meter(stale_after=10)
    nothing = (0,) * 7
    assert status(pv, 3.0) == Status(1, State.WAITING, None, 0, 0, PV_MAP.fingerprint, 0, 0, *nothing)
    pv.store(SAMPLE, 4.0)
    pv.refused = 2
    assert status(pv, 7.5) == Status(1, State.FRESH, 3, 1, 2, PV_MAP.fingerprint, 1, 0, *nothing)
    pv.check(14.0)
    assert status(pv, 70.0) == Status(1, State.STALE, 66, 1, 2, PV_MAP.fingerprint, 1, 0, *nothing)


def test_the_status_block_shows_the_meters_counters_also_after_a_reload() -> None:
    shared = SharedStatus()
    pv = Meter(PV, "", shared)
    pv.partial_writes, pv.thinned = 1, 3
    shared.generation, shared.unknown_units = 5, 7
    reloaded = Meter(PV, "", shared)
    reloaded.take_over(pv, 1.0)
    for target in (pv, reloaded):
        shown = status(target, 1.0)
        assert (shown.partial_writes, shown.incomplete_samples, shown.thinned_samples) == (1, 0, 3)
        assert (shown.unknown_units, shown.writer_changes, shown.generation) == (7, 0, 5)


# Over a restart


def test_restored_values_are_served_and_marked_and_grow_stale() -> None:
    pv = meter(stale_after=10, on_stale=OnStale.EXCEPTION)
    pv.restore(SAMPLE, age=4.0, sequence=77, now=100.0)
    assert (pv.state, pv.failure, registers_read(pv), pv.age(101.0)) == (
        State.RESTORED,
        0,
        SAMPLE_REGISTERS,
        5.0,
    )
    assert status(pv, 101.0).sequence == 77
    assert pv.check(106.0) == (BecameStale("pv", 10.0),)
    assert (pv.state, pv.failure) == (State.STALE, 0x0B)
    pv.store(SAMPLE, 107.0)
    assert (pv.state, pv.failure, status(pv, 107.0).sequence, pv.samples) == (State.FRESH, 0, 78, 1)


@pytest.mark.parametrize("age", [None, 11.0])
def test_restored_values_whose_age_is_unknown_or_too_high_are_shown_as_stale_ones(age: float | None) -> None:
    pv = meter(stale_after=10, on_stale=OnStale.EXCEPTION)
    pv.restore(SAMPLE, age, 1, now=100.0)
    assert (pv.state, pv.failure) == (State.RESTORED, 0x0B)
    holding = meter(stale_after=10)
    holding.restore(SAMPLE, age, 1, now=100.0)
    assert (holding.state, registers_read(holding)) == (State.RESTORED, SAMPLE_REGISTERS)


def test_what_does_not_fit_the_map_is_not_restored() -> None:
    pv = meter()
    pv.restore(SAMPLE[:-2], 1.0, 5, now=100.0)
    assert (pv.state, registers_read(pv)) == (State.WAITING, (0,) * 8)


def test_a_restored_sample_published_when_complete_is_seen() -> None:
    pv = meter(publish=Publish.COMPLETE)
    pv.restore(SAMPLE, 1.0, 5, now=100.0)
    assert registers_read(pv) == SAMPLE_REGISTERS


# Over a new configuration


def test_with_the_same_map_a_new_configuration_keeps_everything() -> None:
    old = meter()
    old.store(SAMPLE, 10.0)
    write(old, 0, 9)
    new = meter(stale_after=30)
    new.take_over(old, 20.0)
    assert (registers_read(new), new.samples, new.age(20.0), new.state) == (
        (9, *SAMPLE_REGISTERS[1:]),
        1,
        10.0,
        State.FRESH,
    )
    assert new.due == 40.0
    assert [write(new, address, 1) for address in range(1, 8)] == [False] * 6 + [True]


def test_with_another_map_each_measurement_keeps_its_value_by_its_name() -> None:
    old = meter()
    old.store(SAMPLE, 10.0)
    voltage = Measurement("V_dc", 10, DataType.UINT32, scale=1000, unit="V", word_order=WordOrder.LITTLE)
    new = meter(RegisterMap((voltage, Measurement("new", 12), Measurement("G", 13, scale=100))))
    new.take_over(old, 20.0)
    # 850 W/m² times 100 does not fit a register, and nobody sent "new": both wait for the next sample.
    assert registers_read(new) == (48500, 0, 0, 0)
    assert (new.state, new.age(20.0), new.samples) == (State.WAITING, None, 1)


def test_what_a_new_configuration_takes_for_stale_is_stale_at_once() -> None:
    old = meter(stale_after=60)
    old.store(SAMPLE, 10.0)
    new = meter(stale_after=5, on_stale=OnStale.EXCEPTION)
    new.take_over(old, 20.0)
    assert (new.state, new.failure) == (State.STALE, 0x0B)
    newer = meter(stale_after=60, on_stale=OnStale.EXCEPTION)
    newer.take_over(new, 21.0)
    assert (newer.state, newer.failure) == (State.FRESH, 0)


def test_a_meter_that_still_waits_goes_on_waiting() -> None:
    new = meter(on_stale=OnStale.EXCEPTION)
    new.take_over(meter(), 20.0)
    assert (new.state, new.failure, new.due) == (State.WAITING, 0x0B, math.inf)
