"""When a sample arrived, on a machine whose wall clock can't be trusted. Pure: time is an argument.

A Pi has no battery clock: its wall clock may stand still while the power is off, and jump by years once a
time server is reached. So each row carries its *running time*: microseconds that never go back and are
independent of steps of the wall clock. A `Segment` relates running time, monotonic clock and wall clock, for
all rows from one on.

Tuples rather than dataclasses, each of which would add a millisecond to the start.
"""

from __future__ import annotations

from typing import NamedTuple

SECOND = 1_000_000
"""Microseconds, like all integer times in this package."""
DAY = 86_400 * SECOND
MAX_GAP = DAY
"""The longest time without power that is counted: it is read from the wall clock, which may have jumped."""
STEP = SECOND // 2
"""A change of the wall clock that is a step; time servers slew smaller ones."""


class Segment(NamedTuple):
    """How the clocks relate to each other, from a row on."""

    boot: str
    """The kernel's boot identifier: the monotonic clock is only comparable within one boot."""
    running: int
    """Running time at the beginning of the segment."""
    monotonic_offset: int
    """Running time minus monotonic clock."""
    wall_offset: int
    """Wall clock (Unix) minus running time."""


def microseconds(seconds: float) -> int:
    """Return whole microseconds."""
    return int(seconds * SECOND)


def first_segment(previous: Segment | None, last: int, boot: str, monotonic: int, wall: int) -> Segment:
    """Return the segment for the first rows after a start of the program, or in another file.

    previous: the segment of the last row; None on an empty file. last: that row's running time.
    monotonic, wall: both clocks, read at the same moment, not later than the first row's arrival.
    Within a boot, running time continues with the monotonic clock. Across a boot, the wall clock gives the
    time without power: 0 if it went back, and at most `MAX_GAP`.
    """
    if previous is None:
        running = 0
    elif previous.boot == boot:
        running = max(last, monotonic + previous.monotonic_offset)
    else:
        gap = wall - (last + previous.wall_offset)
        running = last + min(max(gap, 0), MAX_GAP)
    return Segment(boot, running, running - monotonic, wall - running)


def step_segment(segment: Segment, monotonic: int, wall: int) -> Segment:
    """Return the segment after a step of the wall clock, which does not change the running time."""
    running = monotonic + segment.monotonic_offset
    return Segment(segment.boot, running, segment.monotonic_offset, wall - running)


def has_stepped(offset: int, monotonic: int, wall: int) -> bool:
    """Return whether the wall clock is no longer `offset` ahead of the monotonic one, apart from slewing."""
    return abs(wall - monotonic - offset) > STEP
