"""A sample: one complete set of measurements, with when it was measured and when it arrived."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple


class Sample(NamedTuple):
    """One complete set of measurements."""

    meter: str
    values: Mapping[str, float | None]
    """By the measurement's name, in engineering units, in the map's order; None: the sender has no value."""
    measured: int | None
    """Unix seconds from the map's timestamp; None where the map has none."""
    arrived: float
    """Monotonic seconds: age is judged by this, since a peer may replay old data."""
    arrived_wall: float
    """Unix seconds."""
    out_of_range: frozenset[str] = frozenset()
    """The names of the measurements whose value lies outside their minimum and maximum."""


def iso_time(unix_seconds: float) -> str:
    """Return `2016-01-01T06:00:00+00:00`."""
    return datetime.fromtimestamp(int(unix_seconds), UTC).isoformat()
