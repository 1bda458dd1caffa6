"""Samples on their way from the loop's thread to the one that writes them, and what became of each.

The loop never waits for the writer: to append to a list is one step to Python. The lock is held for a few
operations on that list, by the writer for each piece, and by the loop where the list is full.
"""

from __future__ import annotations

import threading

COLUMNS = 5
"""What a sample is made of here: meter, monotonic time, measured, flags, registers."""
PIECE = 512
"""Samples that are taken at a time: a fraction of a millisecond of Python."""
EARLY = 16_384
"""Samples that are written before the commit interval is over."""
MAX_WAITING = 100_000
"""Samples that wait for a disk that fails; some 20 MB."""
_DROPPED = 1000
_REMEMBERED = 64
"""Stretches of samples that were given up, each of which may be a whole outage."""


class SampleQueue:
    """A queue of samples, `COLUMNS` items each, numbered by tickets from 1 on."""

    __slots__ = ("_bell", "_given_up", "_lock", "done", "dropped", "head", "items", "ring_at")

    def __init__(self) -> None:
        self.items: list[object] = []
        """The loop's thread appends, all columns of a sample in one step."""
        self.head = 1
        """The ticket of the first sample in `items`."""
        self.done = 0
        """Every ticket up to this one is decided: on disk, or given up."""
        self.dropped = 0
        self.ring_at = MAX_WAITING * COLUMNS
        """How many items make it worth to wake the writer."""
        self._given_up: tuple[tuple[int, int], ...] = ()
        self._lock = threading.Lock()
        self._bell = threading.Lock()
        self._bell.acquire()

    def ring(self) -> None:
        """Wake the writer; called by the loop's thread alone."""
        if len(self.items) >= MAX_WAITING * COLUMNS:
            self._drop()
        if self._bell.locked():
            try:
                self._bell.release()
            except RuntimeError:
                # A signal's handler rang in between.
                return

    def wait(self, seconds: float) -> None:
        """Sleep until the bell rings, so long at most; called by the writer alone."""
        self._bell.acquire(timeout=max(seconds, 0.0))

    def __len__(self) -> int:
        return len(self.items) // COLUMNS

    @property
    def next_ticket(self) -> int:
        """Return the ticket that the next sample will have."""
        with self._lock:
            return self.head + len(self)

    def take(self, most: int, before: int | None) -> list[object]:
        """Remove and return the first samples' items: `most` samples, none from ticket `before` on."""
        with self._lock:
            count = min(most, len(self), PIECE)
            if before is not None:
                count = min(count, before - self.head)
            taken = self.items[: count * COLUMNS]
            del self.items[: count * COLUMNS]
            self.head += count
        return taken

    def stored(self) -> None:
        """Note that all samples that were taken are on disk."""
        with self._lock:
            self.done = max(self.done, self.head - 1)

    def give_up(self) -> bool:
        """Let nobody wait for a sample that is not on disk yet; return whether anybody could."""
        with self._lock:
            last = self.head + len(self) - 1
            if last <= self.done:
                return False
            self._remember(self.done + 1, last)
            self.done = last
        return True

    def lose(self, taken: int) -> int:
        """Lose what waits, and so many samples that were taken; return how many that are in all."""
        with self._lock:
            waiting = len(self)
            self._lose(waiting)
            self.dropped += taken
        self.give_up()
        return taken + waiting

    def is_stored(self, ticket: int) -> bool | None:
        """Return None while a sample is undecided, then whether it is on disk."""
        if ticket > self.done:
            return None
        return not any(first <= ticket <= last for first, last in self._given_up)

    def _drop(self) -> None:
        with self._lock:
            self._lose(_DROPPED)

    def _lose(self, count: int) -> None:
        if count:
            del self.items[: count * COLUMNS]
            self._remember(self.head, self.head + count - 1)
            self.head += count
            self.dropped += count

    def _remember(self, first: int, last: int) -> None:
        ranges = self._given_up
        if ranges and ranges[-1][1] + 1 >= first:
            self._given_up = (*ranges[:-1], (min(ranges[-1][0], first), max(ranges[-1][1], last)))
        else:
            self._given_up = (*ranges[-_REMEMBERED + 1 :], (first, last))
