"""Limits how often an event of one kind is logged. Pure: the time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class LogThrottle:
    """Lets one event of each kind through per interval, and counts the others.

    There must be few kinds, such as the peers' names: each is kept forever.
    """

    def __init__(self, interval: float) -> None:
        """interval: in seconds."""
        self._interval = interval
        self._next: dict[Hashable, float] = {}
        self._suppressed: dict[Hashable, int] = {}

    def allow(self, kind: Hashable, now: float) -> int | None:
        """Return None if an event must not be logged, else how many were suppressed since the last one.

        now: monotonic seconds.
        """
        if now < self._next.get(kind, now):
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return None
        self._next[kind] = now + self._interval
        return self._suppressed.pop(kind, 0)


class AddressThrottle:
    """Lets one event of each kind and address through per interval, and counts the others.

    It is bounded: the addresses that were quiet for longest are forgotten, with what was suppressed of them.
    All addresses together get a few lines a second of each kind.
    """

    _ADDRESSES = 256
    _LINES_PER_SECOND = 5

    def __init__(self, interval: float) -> None:
        """interval: in seconds."""
        self._interval = interval
        self._seen: OrderedDict[tuple[Hashable, str], tuple[float, int]] = OrderedDict()
        """When the next line is due, and how many events were suppressed; the quietest address first."""
        self._second: dict[Hashable, tuple[float, int]] = {}
        """When a second began, and the lines since, by kind; there must be few kinds."""

    def allow(self, kind: Hashable, address: str, now: float) -> int | None:
        """Return None if an event must not be logged, else how many were suppressed since the last one.

        now: monotonic seconds.
        """
        due, suppressed = self._seen.pop((kind, address), (now, 0))
        if now < due or not self._spend(kind, now):
            self._seen[kind, address] = due, suppressed + 1
            self._trim()
            return None
        self._seen[kind, address] = now + self._interval, 0
        self._trim()
        return suppressed

    def _spend(self, kind: Hashable, now: float) -> bool:
        began, lines = self._second.get(kind, (now, 0))
        if now - began >= 1.0:
            began, lines = now, 0
        if lines >= self._LINES_PER_SECOND:
            return False
        self._second[kind] = began, lines + 1
        return True

    def _trim(self) -> None:
        if len(self._seen) > self._ADDRESSES:
            self._seen.popitem(last=False)
