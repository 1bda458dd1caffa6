"""What can happen to a meter: small immutable events, which a write or the time causes."""

from __future__ import annotations

from typing import NamedTuple

from smart_meter.meters.assembly import Dropped
from smart_meter.meters.source import Source
from smart_meter.registers.register_map import Measurement


class SampleCompleted(NamedTuple):
    """A sample is complete.

    Until the next one, it is the meter's `sample`, with `arrived`, `measured()` and `flags`.
    """

    meter: str


class BecameFresh(NamedTuple):
    """A sample ended a time without samples."""

    meter: str


class BecameStale(NamedTuple):
    """The last sample is older than `stale_after`."""

    meter: str
    age: float | None
    """Seconds; None: there was no sample."""
    incomplete: Dropped | None = None
    """What came of the next sample; None: nothing."""


class BecameWaiting(NamedTuple):
    """Another map was loaded, and not every value could be taken over: the meter waits for a sample."""

    meter: str


class SampleDropped(NamedTuple):
    """A sample that is written in parts did not become whole."""

    meter: str
    dropped: Dropped


class WriterChanged(NamedTuple):
    """A complete sample came from another address than the one before."""

    meter: str
    earlier: Source | None
    """None: it is the first sample."""
    source: Source


class TwoWriters(NamedTuple):
    """Two addresses write one meter at the same time."""

    meter: str
    first: Source
    second: Source


class StartAssumed(NamedTuple):
    """A writer has no clear pause, so its samples are assumed to begin with a register."""

    meter: str
    source: Source
    register: int


class SlowWriter(NamedTuple):
    """A writer takes longer between two writes than a sample may pause."""

    meter: str
    source: Source
    sample_gap: float


class SecondWriter(NamedTuple):
    """A write was refused because another address writes the meter."""

    meter: str
    writer: str
    """The address that writes it."""


class ValueRefused(NamedTuple):
    """A write was refused because a value in it is out of range."""

    meter: str
    measurement: Measurement
    value: float
    """In engineering units."""


class OverBudget(NamedTuple):
    """A write was refused because its client stores more samples than it may."""

    meter: str


Event = (
    SampleCompleted
    | BecameFresh
    | BecameStale
    | BecameWaiting
    | SampleDropped
    | WriterChanged
    | TwoWriters
    | StartAssumed
    | SlowWriter
    | SecondWriter
    | ValueRefused
    | OverBudget
)
