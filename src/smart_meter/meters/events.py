"""What can happen to a meter: small immutable events, which a write or the time causes."""

from __future__ import annotations

from typing import NamedTuple

from smart_meter.registers.register_map import Measurement


class SampleCompleted(NamedTuple):
    """Every register of the map was written since the last sample.

    Until the next write, the sample is what the meter holds: its registers, `arrived`, `measured()`, `flags`.
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


class ValueRefused(NamedTuple):
    """A write was refused because a value in it is out of range."""

    meter: str
    measurement: Measurement
    value: float
    """In engineering units."""


class OverBudget(NamedTuple):
    """A write was refused because its client stores more samples than it may."""

    meter: str


Event = SampleCompleted | BecameFresh | BecameStale | ValueRefused | OverBudget
