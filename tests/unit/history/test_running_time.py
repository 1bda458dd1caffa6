"""The running time: it never goes back, whatever the clocks do."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from smart_meter.history.running_time import (
    DAY,
    MAX_GAP,
    SECOND,
    STEP,
    Segment,
    first_segment,
    has_stepped,
    microseconds,
    step_segment,
)

TEN_YEARS = 3653 * DAY
NOW = 1_600_000_000 * SECOND
jumps = st.one_of(st.sampled_from([-TEN_YEARS, TEN_YEARS, 0]), st.integers(-TEN_YEARS, TEN_YEARS))
spans = st.integers(0, 30 * DAY)


@dataclass(frozen=True)
class Event:
    """What happens between two samples."""

    what: str
    """samples, jump, restart, reboot"""
    took: int
    jump: int


events = st.lists(st.builds(Event, st.sampled_from(["sample", "jump", "restart", "reboot"]), spans, jumps))


@given(events)
def test_rows_keep_their_order_and_wall_clock_through_jumps_restarts_and_reboots(
    story: list[Event],
) -> None:
    monotonic, wall, boots = 5 * SECOND, NOW, 0
    segment = first_segment(None, 0, "boot 0", monotonic, wall)
    last = segment.running
    for event in story:
        previous = last
        wall += event.took + (event.jump if event.what != "sample" else 0)
        monotonic += event.took
        if event.what == "jump":
            segment = step_segment(segment, monotonic, wall)
        elif event.what == "restart":
            segment = first_segment(segment, last, f"boot {boots}", monotonic, wall)
        elif event.what == "reboot":
            boots += 1
            monotonic = 7 * SECOND
            segment = first_segment(segment, last, f"boot {boots}", monotonic, wall)
        last = monotonic + segment.monotonic_offset
        assert last >= previous
        assert last + segment.wall_offset == wall
        if event.what == "reboot":
            assert last - previous <= MAX_GAP
        else:
            assert last - previous == event.took


@given(spans, spans)
def test_the_first_row_begins_the_running_time(monotonic: int, wall: int) -> None:
    assert first_segment(None, 0, "a", monotonic, wall) == Segment("a", 0, -monotonic, wall)


@given(st.integers(0, DAY))
def test_time_without_power_is_taken_from_the_wall_clock(off: int) -> None:
    before = Segment("a", 0, 0, NOW)
    assert first_segment(before, 50, "b", 0, NOW + 50 + off).running == 50 + off


def test_time_without_power_counts_as_at_most_a_day_and_never_less_than_0() -> None:
    before = Segment("a", 0, 0, NOW)
    assert first_segment(before, 50, "b", 0, NOW + TEN_YEARS).running == 50 + DAY
    assert first_segment(before, 50, "b", 0, NOW - TEN_YEARS).running == 50


def test_a_monotonic_clock_that_goes_back_does_not_take_the_running_time_back() -> None:
    before = Segment("a", 0, 0, NOW)
    assert first_segment(before, 50, "a", 20, NOW) == Segment("a", 50, 30, NOW - 50)


@given(st.integers(-TEN_YEARS, TEN_YEARS), spans)
def test_only_more_than_half_a_second_is_a_step(jump: int, monotonic: int) -> None:
    assert has_stepped(NOW, monotonic, NOW + monotonic + jump) is (abs(jump) > STEP)


def test_seconds_become_whole_microseconds() -> None:
    assert microseconds(1_600_000_000.25) == 1_600_000_000_250_000
