"""Limits how often an event of one kind is logged. Pure: the time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple


class Suppressed(NamedTuple):
    """How many events of one kind were not logged since the kind's last line."""

    own: int = 0
    """Of the address itself."""
    others: int = 0
    """Of addresses that the throttle has forgotten since."""


class AddressThrottle:
    """Lets one event of each kind, meter and address through per interval, and counts the others.

    It is bounded: the addresses that were quiet for longest are forgotten, and what was suppressed of them
    is counted for the kind. All addresses together have few lines of a kind: a crowd fills no journal.
    """

    _ADDRESSES = 256
    _BURST = 20.0
    """Lines of a kind that may come at once."""
    _LINES_PER_SECOND = 0.5
    """Lines of a kind over a long time."""

    def __init__(self, interval: float) -> None:
        """interval: in seconds."""
        self._interval = interval
        self._seen: OrderedDict[tuple[str, str, str], tuple[float, int]] = OrderedDict()
        """When the next line is due, and how many events were suppressed; the quietest address first."""
        self._left: dict[str, tuple[float, float]] = {}
        """When a kind was looked at last, and how many lines it had left; there must be few kinds."""
        self._forgotten: dict[str, int] = {}
        """By kind: how many suppressed events are of addresses that were forgotten."""

    def allow(self, kind: str, address: str, now: float, meter: str = "") -> Suppressed | None:
        """Return None if an event must not be logged, else how many were suppressed since the last one.

        now: monotonic seconds. meter: each has lines of its own.
        """
        key = kind, meter, address
        due, suppressed = self._seen.pop(key, (now, 0))
        if now < due or not self._spend(kind, now):
            self._seen[key] = due, suppressed + 1
            self._trim()
            return None
        self._seen[key] = now + self._interval, 0
        self._trim()
        return Suppressed(suppressed, self._forgotten.pop(kind, 0))

    def _spend(self, kind: str, now: float) -> bool:
        last, left = self._left.get(kind, (now, self._BURST))
        left = min(left + (now - last) * self._LINES_PER_SECOND, self._BURST)
        spent = left >= 1.0
        self._left[kind] = now, left - spent
        return spent

    def _trim(self) -> None:
        if len(self._seen) > self._ADDRESSES:
            (kind, _, _), (_, suppressed) = self._seen.popitem(last=False)
            if suppressed:
                self._forgotten[kind] = self._forgotten.get(kind, 0) + suppressed
