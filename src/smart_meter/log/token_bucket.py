"""How many of a kind of line the journal takes; the rest is summed up. Pure: the time is an argument."""

from __future__ import annotations

BURST_SECONDS = 10.0
SUM_SECONDS = 10.0


class Quota:
    """Lets `rate` lines a second through, `BURST_SECONDS` worth of them at once, and counts nothing itself.

    What was left out is the difference of two totals, so that a read that is not told costs next to nothing.
    """

    __slots__ = ("_burst", "_last_sum", "_rate", "_refilled", "left", "told")

    def __init__(self, rate: float, now: float, total: int = 0) -> None:
        """`total`: how many there were before. now: monotonic seconds."""
        self._rate = rate
        self._refilled = now
        self._last_sum = now
        self._burst = max(1.0, rate * BURST_SECONDS) if rate else 0.0
        self.left = self._burst
        """A line may be told where this is 1 or more; whoever tells it takes 1 away."""
        self.told = total
        """How many of the total were told, each in a line or in a sum."""

    def refill(self, now: float) -> None:
        """Let the time that has passed count."""
        self.left = min(self._burst, self.left + self._rate * (now - self._refilled))
        self._refilled = now

    def sum_up(self, total: int, now: float, *, final: bool = False) -> tuple[int, float] | None:
        """Return how many were left out, and in how many seconds; None where there is nothing to tell yet."""
        passed = now - self._last_sum
        left_out = total - self.told
        if not final and passed < SUM_SECONDS:
            return None
        self._last_sum = now
        if left_out == 0:
            return None
        self.told = total
        return left_out, passed
