"""The concentrator's health in one word: what the Pi's activity LED shows. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from smart_meter.config import Config, ZoneConfig
from smart_meter.meters.meter import Meter
from smart_meter.meters.statistics import PeerTotals
from smart_meter.registers.status_block import State

QUIET_SECONDS = 60.0
"""How long a peer may be silent if no meter has a limit on the age of its values."""


class Health(enum.Enum):
    """The worst that is the case, in descending order."""

    STALE = "stale"
    """A meter has no fresh values."""
    UNREAD = "unread"
    """All values are fresh, but nobody in a zone that only reads has read for a while."""
    GOOD = "good"
    """All values are fresh, and they are read."""


def quiet_limit(config: Config) -> float:
    """Return how many seconds a peer may be silent: the longest `stale_after` of any meter."""
    return max((meter.stale_after for meter in config.meters if meter.stale_after), default=QUIET_SECONDS)


def judge(
    meters: Iterable[Meter],
    zones: Iterable[ZoneConfig],
    peers: Mapping[str, PeerTotals],
    now: float,
    limit: float,
) -> Health:
    """Return the health. peers: by name. now: monotonic seconds. limit: from `quiet_limit`."""
    if any(meter.state is not State.FRESH for meter in meters):
        return Health.STALE
    for zone in zones:
        if zone.access.writes:
            continue
        peer = peers.get(zone.peer.upper())
        if peer is None or peer.last_served is None or now - peer.last_served > limit:
            return Health.UNREAD
    return Health.GOOD
