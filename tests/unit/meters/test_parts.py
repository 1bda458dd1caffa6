"""What a meter makes of samples that are written in parts: what is published, and what is counted."""

import struct
from typing import Any

import pytest

from smart_meter.config import Complete, MeterConfig, OnStale, OutOfRange, Publish, Writers
from smart_meter.meters.events import (
    BecameStale,
    OverBudget,
    SampleCompleted,
    SampleDropped,
    SecondWriter,
    SlowWriter,
    StartAssumed,
    TwoWriters,
    ValueRefused,
    WriterChanged,
)
from smart_meter.meters.meter import Meter
from smart_meter.meters.source import Source
from smart_meter.registers import status_block
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, RegisterMap
from smart_meter.registers.status_block import State
from tests.unit.meters.parts import DESCENDING, Program, chance, cycles, incomplete, value

EIGHT = RegisterMap(tuple(Measurement(f"m{address}", address) for address in range(8)))
WIDE = RegisterMap((Measurement("a", 0), Measurement("b", 2, DataType.UINT32), Measurement("c", 4)))


class Writing:
    """A meter, a clock, and what was published."""

    def __init__(self, register_map: RegisterMap = EIGHT, **changes: Any) -> None:
        # Most rows of the table are about writers whose start is known.
        changes.setdefault("publish", Publish.COMPLETE)
        self.meter = Meter(MeterConfig("pv", 1, register_map)._replace(**changes))
        self.now = 100.0
        self.published: list[tuple[int, ...]] = []
        self.events: list[object] = []
        self.code = 0

    def do(self, source: Source, address: int, *registers: int, after: float = 0.01) -> bool:
        self.now += after
        self.note(self.meter.check(self.now))
        data = struct.pack(f">{len(registers)}H", *registers)
        self.code, events = self.meter.write(address, data, self.now, source=source)
        return self.note(events)

    def mask(self, source: Source, address: int, keep: int, bits: int) -> bool:
        self.now += 0.01
        self.code, events = self.meter.mask(address, keep, bits, self.now, source=source)
        return self.note(events)

    def cycle(
        self, source: Source, number: int, registers: range | list[int] = range(8), after: float = 0.01
    ) -> bool:
        """Write registers one by one; return whether the last one completed a sample."""
        done = [
            self.do(source, r, value(0, number, r), after=0.01 if index else after)
            for index, r in enumerate(registers)
        ]
        return done[-1] and not any(done[:-1])

    def note(self, events: tuple[object, ...]) -> bool:
        self.events += events
        completed = any(isinstance(event, SampleCompleted) for event in events)
        if completed:
            self.published.append(self.meter.registers())
        return completed

    def wait(self, seconds: float) -> "Writing":
        self.now += seconds
        self.note(self.meter.check(self.now))
        return self

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def writers(self) -> int | None:
        return status_block.decode(self.meter.input_registers(self.now)).writers

    def read(self) -> tuple[int, ...]:
        return struct.unpack(f">{len(self.meter.view) // 2}H", self.meter.view)


A, B, C = (Source(f"192.168.1.{number}", "ESP32") for number in (50, 51, 52))


def whole(number: int) -> tuple[int, ...]:
    return tuple(value(0, number, r) for r in range(8))


@pytest.fixture
def known() -> Writing:
    return Writing(sample_starts_at=0)


def test_an_ascending_writer_has_its_first_cycle_published() -> None:
    assert Writing().cycle(A, 1)


@pytest.mark.parametrize("again", range(8))
def test_a_write_that_is_sent_twice_shifts_nothing(known: Writing, again: int) -> None:
    for number in range(1, 4):
        for register in range(8):
            known.do(A, register, value(0, number, register))
            if register == again:
                known.do(A, register, value(0, number, register), after=1.0)
    assert known.published == [whole(1), whole(2), whole(3)]
    assert known.meter.incomplete_samples == 0


def test_a_lost_end_drops_the_sample(known: Writing) -> None:
    known.cycle(A, 1, range(4))
    assert known.cycle(A, 2)
    assert (known.published, known.meter.incomplete_samples) == ([whole(2)], 1)
    [event] = known.of(SampleDropped)
    assert (event.dropped.written, event.dropped.missing) == ({0, 1, 2, 3}, {4, 5, 6, 7})
    assert event.dropped.reason == "its first register 0 came again"


def test_a_lost_beginning_drops_the_sample(known: Writing) -> None:
    known.cycle(A, 1, range(1, 8))
    assert known.cycle(A, 2)
    assert (known.published, known.meter.incomplete_samples) == ([whole(2)], 1)


def test_silence_drops_both_parts(known: Writing) -> None:
    known.cycle(A, 1, range(4))
    known.cycle(A, 1, range(4, 8), after=2.0)
    known.wait(2.0)
    assert (known.published, known.meter.incomplete_samples) == ([], 2)
    assert known.of(SampleDropped)[0].dropped.reason == "within 2 s"


def test_a_run_that_a_new_connection_sends_again_changes_nothing(known: Writing) -> None:
    known.cycle(A, 1, range(4))
    known.meter.disconnected(A)
    again = Source(A.address)
    known.cycle(again, 1, range(2, 4))
    assert known.cycle(again, 1, range(4, 8))
    assert (known.published, known.meter.incomplete_samples) == ([whole(1)], 0)


def test_another_value_of_a_register_drops_the_sample(known: Writing) -> None:
    known.cycle(A, 1, range(5))
    known.do(A, 4, 7)
    known.cycle(A, 1, range(5, 8))
    assert (known.published, known.meter.incomplete_samples) == ([], 1)
    assert known.cycle(A, 2)


def test_a_whole_write_is_a_sample_by_itself(known: Writing) -> None:
    known.cycle(A, 1, range(4))
    assert known.do(A, 0, *whole(2))
    assert known.do(A, 0, *whole(2))
    assert (known.published, known.meter.incomplete_samples) == ([whole(2)] * 2, 1)


def test_the_whole_write_of_another_address_does_not_touch_an_incomplete_sample(known: Writing) -> None:
    known.do(A, 0, *whole(0))
    known.cycle(A, 1, range(4))
    assert known.do(B, 0, *whole(9))
    assert known.cycle(A, 1, range(4, 8))
    assert known.published == [whole(0), whole(9), whole(1)]
    assert known.meter.writer_changes == 2
    assert known.of(TwoWriters) == [TwoWriters("pv", B, A)]


def test_two_addresses_that_write_in_turn_each_get_their_own_sample(known: Writing) -> None:
    for register in range(8):
        known.do(A, register, value(0, 1, register))
        known.do(B, register, value(1, 1, register))
    assert [cycles(registers) for registers in known.published] == [{(0, 1)}, {(1, 1)}]
    assert known.of(TwoWriters) == [TwoWriters("pv", A, B)]
    known.wait(61.0)
    known.do(A, 0, 1)
    known.do(B, 0, 1)
    assert len(known.of(TwoWriters)) == 2


def test_two_connections_of_an_address_are_not_mixed(known: Writing) -> None:
    other = Source(A.address)
    for register in range(8):
        known.do(A, register, value(0, 1, register))
        known.do(other, register, value(1, 1, register))
    assert [cycles(registers) for registers in known.published] == [{(0, 1)}, {(1, 1)}]
    assert known.of(TwoWriters) == []


def test_a_new_connection_goes_on_at_once_while_the_old_one_is_half_open(known: Writing) -> None:
    known.cycle(A, 1, range(4))
    assert known.cycle(Source(A.address), 2)
    assert known.meter.incomplete_samples == 0
    known.wait(2.0)
    assert known.meter.incomplete_samples == 1


def test_a_connection_for_each_write_is_one_writer(known: Writing) -> None:
    for register in range(8):
        source = Source(A.address)
        known.do(source, register, value(0, 1, register))
        known.meter.disconnected(source)
    assert known.published == [whole(1)]


def test_a_mask_changes_the_clients_own_pending_register(known: Writing) -> None:
    known.do(A, 0, *range(8))
    known.cycle(A, 1, range(6))
    known.mask(A, 5, 0xFFF0, 0x000F)
    assert known.cycle(A, 1, [6, 7])
    assert known.published[-1] == (*whole(1)[:5], value(0, 1, 5) | 0xF, *whole(1)[6:])


def test_a_mask_takes_the_published_register_while_another_address_has_its_own(known: Writing) -> None:
    known.do(A, 0, *[0x100 + r for r in range(8)])
    known.cycle(B, 1, range(6))
    known.cycle(A, 2, range(5))
    known.mask(A, 5, 0xFFFE, 0x0001)
    known.cycle(A, 2, [6, 7])
    assert known.published[-1][5] == 0x105


def test_a_mask_of_the_next_cycle_does_not_take_bits_of_this_one(known: Writing) -> None:
    known.do(A, 0, *range(8))
    known.mask(A, 0, 0xFFF0, 0x000F)
    known.cycle(A, 1, range(1, 5))
    known.mask(A, 0, 0xFF0F, 0x00F0)
    known.cycle(A, 2, range(1, 8))
    assert known.published[-1][0] == 0x00F0


def test_masks_of_the_next_cycle_do_not_change_this_one(known: Writing) -> None:
    known.do(A, 0, *range(8))
    for number in (1, 2):
        for register in range(0 if number == 1 else 1, 7 if number == 1 else 8):
            known.mask(A, register, 0, number * 16 + register)
    assert len(known.published) == 1
    assert known.meter.incomplete_samples == 1


def test_a_mask_names_bits_so_the_other_register_of_its_value_counts_as_sent() -> None:
    wide = Writing(WIDE, sample_starts_at=0)
    wide.do(A, 0, 1, 0, 2, 3, 4)
    wide.do(A, 0, 5)
    wide.mask(A, 3, 0xFF00, 0x0009)
    assert wide.do(A, 4, 6)
    assert wide.published[-1] == (5, 0, 2, 9, 6)


def test_a_writer_with_pauses_is_understood_after_some_cycles() -> None:
    writing = Writing()
    for write in Program(DESCENDING, 0.01, 1.0).writes(chance(1), 9, join=3):
        writing.now = 100 + write.at - 0.01
        writing.do(A, write.address, *write.values)
    assert [cycles(registers) for registers in writing.published] == [{(0, n)} for n in range(4, 9)]
    assert writing.of(StartAssumed) == []


def test_an_even_writer_gets_the_first_register_as_an_assumption_and_a_line() -> None:
    writing = Writing()
    for number in range(6):
        writing.cycle(A, number)
    assert writing.published == [whole(number) for number in range(6)]
    assert writing.of(StartAssumed) == [StartAssumed("pv", A, 0)]
    assert writing.meter.assumed_starts() == [A.address]


def test_a_start_may_be_any_register_of_the_map() -> None:
    writing = Writing(sample_starts_at=7)
    assert all(writing.cycle(A, number, list(range(7, -1, -1))) for number in range(3))
    assert writing.meter.assumed_starts() == []


def test_published_at_once_readers_see_a_write_before_the_sample_is_complete() -> None:
    writing = Writing(publish=Publish.IMMEDIATE, sample_starts_at=0)
    writing.do(A, 0, 7)
    assert (writing.read()[0], writing.meter.registers()[0], writing.meter.partial_writes) == (7, 0, 1)
    writing.do(A, 0, 7)
    assert writing.meter.partial_writes == 1
    writing.wait(2.0)
    assert [event.dropped.visible for event in writing.of(SampleDropped)] == [True]
    assert writing.read()[0] == 7


def test_published_at_once_readers_never_see_half_a_value() -> None:
    writing = Writing(WIDE, publish=Publish.IMMEDIATE, sample_starts_at=0)
    writing.do(A, 0, 1, 0, 0xAAAA, 0xBBBB, 4)
    writing.do(A, 0, 2)
    writing.do(A, 2, 0xCCCC)
    assert writing.read() == (2, 0, 0xAAAA, 0xBBBB, 4)
    writing.do(A, 3, 0xDDDD)
    assert writing.read() == (2, 0, 0xCCCC, 0xDDDD, 4)


def test_published_at_once_the_flags_are_of_what_readers_get() -> None:
    limited = RegisterMap((Measurement("T", 0, maximum=90), Measurement("P", 1)))
    writing = Writing(limited, publish=Publish.IMMEDIATE, sample_starts_at=0)
    writing.do(A, 0, 20, 1)
    writing.do(A, 0, 654)
    block = writing.meter.input_registers(writing.now)
    assert (writing.read()[0], block[25], writing.meter.flags) == (654, 1, 0)
    writing.do(A, 1, 2)
    assert writing.meter.flags == 1


def test_a_value_is_refused_once_readers_would_see_it_and_nothing_else_changes() -> None:
    limited = RegisterMap((Measurement("E", 0, DataType.UINT32, maximum=0xFFFF), Measurement("P", 2)))
    writing = Writing(limited, sample_starts_at=0, out_of_range=OutOfRange.REFUSE)
    writing.do(A, 0, 1)
    writing.do(A, 1, 5)
    assert writing.code == 3
    assert isinstance(writing.events[-1], ValueRefused)
    writing.do(A, 0, 0)
    writing.do(A, 1, 5)
    assert writing.do(A, 2, 6)
    assert writing.published == [(0, 5, 6)]


def test_registers_between_the_values_are_read_as_0() -> None:
    gappy = RegisterMap((Measurement("a", 10), Measurement("b", 12)))
    writing = Writing(gappy, publish=Publish.IMMEDIATE)
    assert writing.do(A, 10, 1, 2, 3)
    assert writing.read() == (1, 0, 3)
    writing.do(A, 11, 9)
    assert (writing.read(), writing.meter.partial_writes) == ((1, 0, 3), 0)


def test_the_number_of_incomplete_samples_is_bounded(known: Writing) -> None:
    for number in range(9):
        known.do(Source(f"192.168.1.{number}"), 0, number)
    assert known.meter.incomplete_samples == 1
    assert known.of(SampleDropped)[0].dropped.source.address == "192.168.1.0"


# complete = "any"


def test_with_any_each_write_is_a_sample_with_the_other_values_as_they_were() -> None:
    writing = Writing(complete=Complete.ANY, stale_after=10)
    writing.do(A, 0, *whole(1))
    assert writing.do(A, 3, 7, after=9.0)
    assert writing.do(A, 3, 7, after=9.0)
    assert writing.published[-1] == (*whole(1)[:3], 7, *whole(1)[4:])
    assert (writing.meter.state, writing.meter.samples) == (State.FRESH, 3)


def test_with_any_nothing_is_fresh_before_every_value_was_sent() -> None:
    writing = Writing(complete=Complete.ANY, publish=Publish.IMMEDIATE, on_stale=OnStale.HOLD)
    assert not writing.do(A, 0, 5)
    assert (writing.meter.state, writing.meter.partial_writes, writing.read()[0]) == (State.WAITING, 1, 5)
    assert writing.do(A, 1, *range(1, 8), after=100.0)
    assert writing.published == [(5, *range(1, 8))]


def test_with_any_a_value_of_two_registers_waits_until_it_is_whole() -> None:
    writing = Writing(WIDE, complete=Complete.ANY)
    writing.do(A, 0, 1, 0, 2, 3, 4)
    assert not writing.do(A, 2, 0xAAAA)
    assert writing.do(A, 3, 0xBBBB)
    # It comes again, since its reply was lost, and then the next value.
    writing.do(A, 3, 0xBBBB)
    assert not writing.do(A, 2, 0xCCCC)
    assert writing.published[-1][2:4] == (0xAAAA, 0xBBBB)
    assert writing.do(A, 3, 0xDDDD)
    assert writing.published[-1][2:4] == (0xCCCC, 0xDDDD)
    writing.do(A, 2, 0xEEEE)
    assert not writing.do(A, 3, 0xFFFF, after=2.5)
    [event] = writing.of(SampleDropped)
    assert (event.dropped.written, event.dropped.missing) == ({2}, {3})
    assert writing.meter.incomplete_samples == 1


# Writers


def test_each_new_writer_is_an_event_and_the_first_one_is_no_change(known: Writing) -> None:
    known.do(A, 0, *whole(1))
    known.do(A, 0, *whole(2))
    known.do(Source(A.address), 0, *whole(3))
    known.do(B, 0, *whole(4), after=100.0)
    known.do(A, 0, *whole(5), after=100.0)
    assert known.of(WriterChanged) == [
        WriterChanged("pv", None, A),
        WriterChanged("pv", A, B),
        WriterChanged("pv", B, A),
    ]
    assert known.meter.writer_changes == 2
    assert known.of(TwoWriters) == []


def test_only_one_writer_is_let_in_while_its_values_are_fresh() -> None:
    writing = Writing(writers=Writers.ONE, stale_after=10, sample_starts_at=0)
    writing.do(B, 0, 1)
    writing.do(A, 0, *whole(1))
    # What others had begun is dropped.
    assert writing.meter.incomplete_samples == 1
    version = writing.meter.version
    for registers in ((1,), whole(2)):
        writing.do(B, 0, *registers)
        assert (writing.code, writing.events[-1]) == (6, SecondWriter("pv", A.address))
    writing.mask(B, 0, 0, 1)
    assert writing.code == 6
    assert (writing.meter.version, writing.published) == (version, [whole(1)])
    writing.wait(10.0)
    assert writing.do(B, 0, *whole(3))
    writing.do(A, 0, *whole(4))
    assert writing.code == 6


def test_the_addresses_that_wrote_within_a_minute_are_counted(known: Writing) -> None:
    assert known.writers() == 0
    known.do(A, 0, *whole(1))
    known.do(Source(A.address), 0, *whole(2))
    assert known.writers() == 1
    # Also one whose sample is incomplete.
    known.do(B, 0, 1, after=40.0)
    assert known.writers() == 2
    known.wait(30.0)
    assert known.writers() == 1
    known.do(C, 0, *whole(3))
    known.do(A, 0, *whole(4))
    assert known.writers() == 3
    known.wait(60.0)
    assert known.writers() == 0


@pytest.mark.parametrize("complete", Complete)
def test_a_busy_meter_refuses_what_would_complete_a_sample_and_changes_nothing(complete: Complete) -> None:
    writing = Writing(sample_starts_at=None if complete is Complete.ANY else 0, complete=complete)
    writing.do(A, 0, *whole(1))
    if complete is Complete.ALL:
        writing.cycle(A, 2, range(7))
    before = writing.meter.version, writing.meter.samples, incomplete(writing.meter)
    writing.meter.busy = True
    for _ in range(2):
        writing.do(A, 7, value(0, 2, 7))
        assert (writing.code, writing.events[-1]) == (6, OverBudget("pv"))
    writing.do(A, 0, *whole(3))
    assert writing.code == 6
    assert (writing.meter.version, writing.meter.samples, incomplete(writing.meter)) == before
    writing.meter.busy = False
    assert writing.do(A, 7, value(0, 2, 7))
    assert writing.read()[7] == value(0, 2, 7)


def test_a_writer_that_is_slower_than_sample_gap_is_named_once(known: Writing) -> None:
    for register in range(8):
        known.do(A, register, 1, after=3.0)
    assert known.published == []
    assert known.of(SlowWriter) == [SlowWriter("pv", A, 2)]


def test_a_writer_that_leaves_registers_out_is_not_slow(known: Writing) -> None:
    for number in range(8):
        known.cycle(A, number, range(6), after=5.0)
    assert known.of(SlowWriter) == []


def test_a_stale_meter_names_the_registers_that_are_missing() -> None:
    writing = Writing(stale_after=10, sample_starts_at=0)
    for _ in range(4):
        writing.cycle(A, 1, range(6))
        writing.wait(3.0)
    [stale] = writing.of(BecameStale)
    assert (stale.age, stale.incomplete.missing) == (None, {6, 7})
    assert writing.meter.state is State.WAITING
    writing.cycle(A, 2)
    writing.cycle(A, 3, range(6))
    writing.wait(10.0)
    stale = writing.of(BecameStale)[-1]
    assert (stale.incomplete.missing, writing.meter.state) == ({6, 7}, State.STALE)


# Over a new configuration


def taken_over(earlier: Meter, register_map: RegisterMap = EIGHT, **changes: Any) -> Writing:
    writing = Writing(register_map, **changes)
    writing.note(writing.meter.take_over(earlier, 101.0))
    return writing


def test_an_incomplete_sample_goes_on_over_a_new_configuration(known: Writing) -> None:
    known.cycle(A, 1, range(4))
    later = taken_over(known.meter, sample_starts_at=0)
    assert later.cycle(A, 1, range(4, 8))
    other = taken_over(known.meter, sample_starts_at=0, sample_gap=3)
    assert other.meter.incomplete_samples == 0
    known.cycle(A, 2, range(4))
    other = taken_over(known.meter, sample_starts_at=0, sample_gap=3)
    assert other.meter.incomplete_samples == 1


def test_a_new_measurement_is_never_fresh_before_it_was_sent(known: Writing) -> None:
    known.do(A, 0, *whole(1))
    nine = RegisterMap((*EIGHT.measurements, Measurement("new", 8)))
    later = taken_over(known.meter, nine, on_stale=OnStale.EXCEPTION, complete=Complete.ANY)
    assert (later.meter.state, later.meter.failure) == (State.WAITING, 0x0B)
    assert not later.do(A, 0, 1)
    assert later.do(A, 8, 1)
    assert (later.meter.state, later.meter.failure) == (State.FRESH, 0)


def test_a_map_that_holds_every_value_exactly_goes_on(known: Writing) -> None:
    known.do(A, 0, *whole(1))
    wider = RegisterMap(
        tuple(Measurement(f"m{address}", 2 * address, DataType.UINT32, scale=100) for address in range(8))
    )
    assert taken_over(known.meter, wider).meter.state is State.FRESH
    coarser = RegisterMap((*EIGHT.measurements[:7], Measurement("m7", 7, scale=0.5)))
    assert taken_over(known.meter, coarser).meter.state is State.WAITING
    known.do(A, 0, *whole(1)[:7], 0xFFFF)
    # It is a value: an unsigned type has no other number for "no value" unless that is configured.
    assert taken_over(known.meter, wider).read()[14:] == divmod(100 * 0xFFFF, 0x10000)
    unsigned = RegisterMap((Measurement("m", 0, no_value=True),))
    signed, other = (RegisterMap((Measurement("m", 0, kind),)) for kind in (DataType.INT32, DataType.UINT32))
    without = Writing(unsigned)
    without.do(A, 0, 0xFFFF)
    assert taken_over(without.meter, signed).read() == (0x8000, 0)
    assert taken_over(without.meter, other).meter.state is State.WAITING
    in_kilowatts = RegisterMap((*EIGHT.measurements[:7], Measurement("m7", 7, unit="kW")))
    assert taken_over(known.meter, in_kilowatts).meter.state is State.WAITING
