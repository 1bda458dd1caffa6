"""Limits the rate of a peer's RX or TX lines; a summary counts the rest. Pure: the time is an argument."""

from __future__ import annotations

BURST_SECONDS = 10.0
SUMMARY_SECONDS = 10.0


class TokenBucket:
    """A token bucket: each logged event takes one token, and `rate` tokens are added per second.

    It holds the tokens of `BURST_SECONDS`. The events are counted by the caller. How many were suppressed is
    the difference of two totals, so an event that is not logged costs nothing here.
    """

    __slots__ = ("_burst", "_last_summary", "_rate", "_refilled", "reported", "tokens")

    def __init__(self, rate: float, now: float, total: int = 0) -> None:
        """rate: events per second. now: monotonic seconds. total: how many events there were before."""
        self._rate = rate
        self._refilled = now
        self._last_summary = now
        self._burst = max(1.0, rate * BURST_SECONDS) if rate else 0.0
        self.tokens = self._burst
        """An event may be logged if this is 1 or more; see `spend`."""
        self.reported = total
        """How many of all events were logged, each in its own line or in a summary."""

    def spend(self) -> None:
        """Take the token of one event that is logged."""
        self.tokens -= 1.0
        self.reported += 1

    def refill(self, now: float) -> None:
        """Add the tokens of the time since the last refill. now: monotonic seconds."""
        self.tokens = min(self._burst, self.tokens + self._rate * (now - self._refilled))
        self._refilled = now

    def flush_suppressed(self, total: int, now: float, *, final: bool = False) -> tuple[int, float] | None:
        """Return how many events were suppressed, and in how many seconds, for the summary.

        Returns None if none was, or if the last summary is less than `SUMMARY_SECONDS` old.
        total: how many events there were. now: monotonic seconds. final: the last summary; it is never early.
        """
        passed = now - self._last_summary
        suppressed = total - self.reported
        if not final and passed < SUMMARY_SECONDS:
            return None
        self._last_summary = now
        if suppressed == 0:
            return None
        self.reported = total
        return suppressed, passed
