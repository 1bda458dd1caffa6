"""The queue between the thread that receives samples and the thread that writes them.

The receiving thread never waits for the writer: appending to a list is a single step in Python. Both threads
hold the lock only to change the front of the list, for a few operations: the writer whenever it takes
samples, the receiving thread when the queue is full.
"""

from __future__ import annotations

import threading

QueuedSample = tuple[int, float, int | None, int, bytes, int]
"""Meter key, monotonic seconds of arrival, Unix seconds of measurement, flags, registers in wire order, and
the client that `History.record` takes.

A plain tuple: a NamedTuple takes several times as long to create, on the thread that serves Modbus.
"""
BATCH = 512
"""Samples that the writer takes at a time: a fraction of a millisecond of Python."""
EARLY = 16_384
"""Samples that are written before the commit interval is over."""
MAX_WAITING = 100_000
"""Samples that are kept in memory while the disk fails."""
MAX_BYTES = 24 * 2**20
"""What they take, at most."""
_SAMPLE_BYTES = 220
"""What a sample takes in memory besides its registers."""
_DROPPED = 1000
"""Samples that are dropped at a time when the queue is full, the oldest first."""
_REMEMBERED = 64
"""Ranges of given-up tickets that are remembered; each may be a whole outage."""


class Wakeup:
    """Wakes one waiting thread; calls made before it waits count as one.

    A binary semaphore made of a lock, which is held unless a call is pending. A `threading.Event` would be
    slower, and would deadlock if a signal handler called `set` in the middle of another `set`.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiting thread, or let its next `wait` return immediately."""
        if self._lock.locked():
            try:
                self._lock.release()
            except RuntimeError:
                # A signal handler called `set` since the line above.
                return

    def wait(self, seconds: float) -> None:
        """Block until `set` is called, but no longer than `seconds`; a time in the past counts as 0."""
        self._lock.acquire(timeout=max(seconds, 0.0))


class SampleQueue:
    """A queue of samples, numbered by tickets from 1 on, which records whether each was committed."""

    __slots__ = ("_given_up", "_lock", "_wakeup", "done", "dropped", "head", "limit", "samples", "wake_at")

    def __init__(self) -> None:
        self.samples: list[QueuedSample] = []
        """The receiving thread appends; it calls `wake` once there are `wake_at`."""
        self.head = 1
        """The ticket of the first sample in `samples`."""
        self.done = 0
        """Every ticket up to this one is decided: committed or given up."""
        self.dropped = 0
        """Samples that were removed from the queue without being written."""
        self.limit = MAX_WAITING
        """How many samples are kept; the oldest ones beyond are dropped."""
        self.wake_at = MAX_WAITING
        """Number of queued samples at which the writer has to be woken; set by the writer.

        It depends on the commit interval and the state of the disk, and is kept here so that the receiving
        thread only compares two integers for each sample.
        """
        self._given_up: tuple[tuple[int, int], ...] = ()
        """Ranges of tickets, first and last; replaced rather than changed, since both threads read it."""
        self._lock = threading.Lock()
        self._wakeup = Wakeup()

    def wake(self) -> None:
        """Wake the writer, and drop the oldest samples of a full queue. Receiving thread only."""
        limit = min(self.limit, MAX_WAITING)
        if len(self.samples) >= limit:
            with self._lock:
                self._drop(len(self.samples) - limit + min(_DROPPED, max(limit // 2, 1)))
        self._wakeup.set()

    def expect(self, registers: int) -> None:
        """Bound what waits. registers: the bytes of registers that the largest sample has."""
        self.limit = max(min(MAX_WAITING, MAX_BYTES // (registers + _SAMPLE_BYTES)), 1)

    def wait(self, seconds: float) -> None:
        """Block until the receiving thread calls `wake`, but no longer than `seconds`. Writer only."""
        self._wakeup.wait(seconds)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def next_ticket(self) -> int:
        """Return the ticket that the next sample will get."""
        with self._lock:
            return self.head + len(self.samples)

    def take(self, most: int, before: int | None) -> list[QueuedSample]:
        """Remove and return the first samples: at most `most`, only those with a ticket below `before`."""
        with self._lock:
            count = min(most, len(self.samples), BATCH)
            if before is not None:
                count = min(count, before - self.head)
            taken = self.samples[:count]
            del self.samples[:count]
            self.head += count
        return taken

    def mark_committed(self) -> None:
        """Record that all samples taken so far are on disk."""
        with self._lock:
            self.done = max(self.done, self.head - 1)

    def give_up(self) -> bool:
        """Decide every undecided ticket as not committed; return whether there was one.

        The samples stay in the queue and may still be written later.
        """
        with self._lock:
            last = self.head + len(self.samples) - 1
            if last <= self.done:
                return False
            self._remember(self.done + 1, last)
            self.done = last
        return True

    def discard(self, taken: int) -> int:
        """Drop all queued samples; return their number plus `taken`, the number taken but not written."""
        with self._lock:
            queued = len(self.samples)
            self._drop(queued)
            self.dropped += taken
        self.give_up()
        return taken + queued

    def is_stored(self, ticket: int) -> bool | None:
        """Return None while a ticket is undecided, then whether its sample was committed in time."""
        if ticket > self.done:
            return None
        return not any(first <= ticket <= last for first, last in self._given_up)

    def _drop(self, count: int) -> None:
        """Drop the `count` oldest samples; call with the lock held."""
        if count:
            del self.samples[:count]
            self._remember(self.head, self.head + count - 1)
            self.head += count
            self.dropped += count

    def _remember(self, first: int, last: int) -> None:
        """Add a range of given-up tickets, joined with the one before if they touch."""
        ranges = self._given_up
        if ranges and ranges[-1][1] + 1 >= first:
            self._given_up = (*ranges[:-1], (min(ranges[-1][0], first), max(ranges[-1][1], last)))
        else:
            self._given_up = (*ranges[-_REMEMBERED + 1 :], (first, last))
