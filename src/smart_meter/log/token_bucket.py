"""Limits the rate of a peer's RX and TX lines; a summary counts the rest. Pure: the time is an argument."""

from __future__ import annotations

BURST_SECONDS = 2.0
SUMMARY_SECONDS = 60.0
SILENCE_SECONDS = 60.0


class _Summed:
    """Counts how many events had no line of their own.

    The events are counted by the caller. How many were suppressed is the difference of two totals, so an
    event that is not logged costs nothing here.
    """

    __slots__ = ("_last_summary", "reported", "tokens")

    def __init__(self, tokens: float, now: float, total: int) -> None:
        self._last_summary = now
        self.tokens = tokens
        """An event may be logged if this is 1 or more; see `spend`."""
        self.reported = total
        """How many of all events were logged, each in its own line or in a summary."""

    def spend(self) -> None:
        """Take the token of one event that is logged."""
        self.tokens -= 1.0
        self.reported += 1

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


class TokenBucket(_Summed):
    """For samples: each line takes one token, and `rate` tokens are added per second.

    It holds the tokens of `BURST_SECONDS`: with those of a single second, a client that sends at just this
    rate would lose a line each time that a refill is late.
    """

    __slots__ = ("_burst", "_rate", "_refilled")

    def __init__(self, rate: float, now: float, total: int = 0) -> None:
        """rate: events per second. now: monotonic seconds. total: how many events there were before."""
        self._rate = rate
        self._refilled = now
        self._burst = max(1.0, rate * BURST_SECONDS) if rate else 0.0
        super().__init__(self._burst, now, total)

    def refill(self, now: float) -> None:
        """Add the tokens of the time since the last refill. now: monotonic seconds."""
        self.tokens = min(self._burst, self.tokens + self._rate * (now - self._refilled))
        self._refilled = now


class FirstAfterSilence(_Summed):
    """For reads: the first has a line, and the first after `SILENCE_SECONDS` without any."""

    __slots__ = ("_seen", "_token", "_when")

    def __init__(self, now: float, total: int = 0, *, lines: bool = True) -> None:
        """now: monotonic seconds. total: how many events there were before. lines: False: only summaries."""
        self._token = 1.0 if lines else 0.0
        self._seen = total
        """How many events there were at the last refill that found a new one, and when that was."""
        self._when = now
        super().__init__(self._token, now, total)

    def refill(self, total: int, now: float) -> None:
        """Take note of how many events there were. now: monotonic seconds."""
        if total != self._seen:
            self._seen, self._when = total, now
        elif now - self._when >= SILENCE_SECONDS:
            self.tokens = self._token
