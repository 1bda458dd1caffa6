"""How many samples of one meter an address may store, so that no address fills the history. Pure."""

from __future__ import annotations

import math

BURST_SECONDS = 60.0
"""How many seconds' worth of samples may come at once."""
MAX_OWN = 4
"""Addresses of a meter that have a budget each; all others share one."""
KEPT_SECONDS = 86_400.0
"""How long an address keeps its own budget without a sample."""


class Budget:
    """Samples that may still be stored; each takes 1 from `left`."""

    __slots__ = ("_refilled", "left", "used")

    def __init__(self, left: float, now: float) -> None:
        self.left = self._refilled = left
        self.used = now
        """When a sample was seen last, in monotonic seconds."""

    def refill(self, samples: float, burst: float, now: float) -> None:
        """Add samples for the time that has passed, up to `burst`."""
        if self.left != self._refilled:
            self.used = now
        self.left = self._refilled = burst if burst == math.inf else min(max(self.left, 0.0) + samples, burst)


class Budgets:
    """The budgets of one meter's writers."""

    __slots__ = ("_refilled", "own", "rate", "shared")

    def __init__(self, rate: float, now: float) -> None:
        """rate: samples per second; 0: no limit. now: monotonic seconds."""
        self.rate = rate
        self._refilled = now
        self.own: dict[int, Budget] = {}
        """By the client's number."""
        self.shared = Budget(self.burst, now)

    @property
    def burst(self) -> float:
        """Return the most samples that a budget holds."""
        return max(self.rate * BURST_SECONDS, 1.0) if self.rate else math.inf

    def of(self, client: int, now: float) -> Budget:
        """Return a client's budget: its own if it has one or can get one. client: 0 if it has no number."""
        budget = self.own.get(client)
        if budget is not None:
            return budget
        if not client or len(self.own) >= MAX_OWN:
            return self.shared
        budget = self.own[client] = Budget(self.burst, now)
        return budget

    def allows(self, client: int) -> bool:
        """Return whether a client may store a sample now."""
        budget = self.own.get(client)
        if budget is None:
            if client and len(self.own) < MAX_OWN:
                return True
            budget = self.shared
        return budget.left >= 1.0

    def use_rate(self, rate: float) -> None:
        """Apply another rate, of a new configuration."""
        before, self.rate = self.burst, rate
        for budget in (*self.own.values(), self.shared):
            budget.left = self.burst if before == math.inf else min(budget.left, self.burst)

    def refill(self, now: float) -> None:
        """Add samples for the time since the last refill; forget addresses that have long been silent."""
        samples, self._refilled = self.rate * (now - self._refilled), now
        burst = self.burst
        self.shared.refill(samples, burst, now)
        for client, budget in list(self.own.items()):
            budget.refill(samples, burst, now)
            if now - budget.used >= KEPT_SECONDS:
                del self.own[client]
