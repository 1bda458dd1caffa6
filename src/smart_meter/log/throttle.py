"""Limits how often an event of one kind is logged. Pure: the time is an argument."""

from __future__ import annotations

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
