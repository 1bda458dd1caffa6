"""Holds back what would be told too often, and counts it. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Hashable


class RateLimit:
    """Lets one event of each kind through in an interval.

    The kinds must be few, such as a zone's name: each is kept for good.
    """

    def __init__(self, interval: float) -> None:
        """`interval` in seconds."""
        self._interval = interval
        self._next: dict[Hashable, float] = {}
        self._held_back: dict[Hashable, int] = {}

    def allow(self, kind: Hashable, now: float) -> int | None:
        """Return how many were held back since the last one let through, or None for one to be held back."""
        if now < self._next.get(kind, now):
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return None
        self._next[kind] = now + self._interval
        return self._held_back.pop(kind, 0)
