"""Samples that the writer has taken from the queue, with the wall clock's offset when they arrived."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from smart_meter.history.sample_queue import BATCH, QueuedSample, SampleQueue


class Batch(NamedTuple):
    """Samples that arrived between two steps of the wall clock."""

    samples: list[QueuedSample]
    offset: int
    """Microseconds that the wall clock was ahead of the monotonic clock when they arrived."""


class Batches:
    """What is taken, oldest first. Only the writer's thread uses it, once that runs."""

    def __init__(self, queue: SampleQueue, offset: int) -> None:
        """offset: the wall clock's, for the next sample."""
        self.taken: list[Batch] = []
        self._queue = queue
        self._offset = offset
        self._steps: deque[tuple[int, int]] = deque()
        """Steps of the wall clock that queued samples have yet to reach: first ticket, new offset."""

    @property
    def steps(self) -> int:
        """Return how many steps of the wall clock are still to be reached."""
        return len(self._steps)

    def step(self, ticket: int, offset: int) -> None:
        """Take note that samples from a ticket on have another clock offset."""
        self._steps.append((ticket, offset))

    def take(self, most: int) -> None:
        """Take samples up to `most`, counting those taken before; a batch has one clock offset."""
        most -= self.count()
        while most > 0:
            while self._steps and self._steps[0][0] <= self._queue.head:
                self._offset = self._steps.popleft()[1]
            samples = self._queue.take(min(most, BATCH), self._steps[0][0] if self._steps else None)
            if not samples:
                # The queue may have dropped samples up to the next step or beyond it.
                if self._steps and self._steps[0][0] <= self._queue.head:
                    continue
                return
            self.taken.append(Batch(samples, self._offset))
            most -= len(samples)

    def count(self) -> int:
        """Return the number of samples taken."""
        return sum(len(batch.samples) for batch in self.taken)

    def clear(self) -> None:
        """Forget them: they are committed, or lost."""
        self.taken.clear()
