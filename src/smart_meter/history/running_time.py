"""When a sample came, on a machine whose clock can't be trusted. Pure: time is an argument.

A Pi has no battery clock: its wall clock may stand still while the power is off, and jump by years once a
time server is reached. So each row carries the *running time*: microseconds that never go back, and that no
step of the wall clock touches. A `Segment` says, for all rows from one on, how running time, monotonic clock
and wall clock belong together.

Tuples rather than dataclasses: those would cost the start a millisecond each.
"""

from __future__ import annotations

from typing import NamedTuple

SECOND = 1_000_000
"""Microseconds; all integers of this room are microseconds."""
DAY = 86_400 * SECOND
MAX_GAP = DAY
"""What a time without power counts at most: the wall clock that tells it may have jumped."""
STEP = SECOND // 2
"""A difference between wall and monotonic clock that is a step; time servers slew what is less."""


class Segment(NamedTuple):
    """How the clocks belong together from a row on."""

    boot: str
    """The kernel's boot identifier: the monotonic clock means something within one boot alone."""
    running: int
    """Running time at the beginning of the segment."""
    monotonic: int
    """Running time minus monotonic clock."""
    wall: int
    """Wall clock (Unix) minus running time."""


def microseconds(seconds: float) -> int:
    """Return whole microseconds."""
    return int(seconds * SECOND)


def begin(previous: Segment | None, last: int, boot: str, monotonic: int, wall: int) -> Segment:
    """Return the segment with which rows go on, after a start of the program or on another file.

    previous: the segment of the last row; None on an empty file. last: that row's running time.
    monotonic, wall: what both clocks told at one moment, not later than the first row to come.
    Within a boot the running time goes on with the monotonic clock. Otherwise the wall clock tells how long
    the power was away: nothing where it went back, `MAX_GAP` where it says more than that.
    """
    if previous is None:
        running = 0
    elif previous.boot == boot:
        running = max(last, monotonic + previous.monotonic)
    else:
        gap = wall - (last + previous.wall)
        running = last + min(max(gap, 0), MAX_GAP)
    return Segment(boot, running, running - monotonic, wall - running)


def step(segment: Segment, monotonic: int, wall: int) -> Segment:
    """Return the segment after a step of the wall clock; the running time does not notice it."""
    running = monotonic + segment.monotonic
    return Segment(segment.boot, running, segment.monotonic, wall - running)


def stepped(offset: int, monotonic: int, wall: int) -> bool:
    """Whether the wall clock is no longer `offset` before the monotonic one, but for slewing."""
    return abs(wall - monotonic - offset) > STEP
