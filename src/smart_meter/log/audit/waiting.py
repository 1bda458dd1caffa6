"""Events that wait to be written: those that may become one are merged, and their number is bounded."""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict

from smart_meter.log.audit.kinds import BY_ROOT, Kind
from smart_meter.log.audit.text import without_numbers

WAITING = 50
"""The most events of one kind that wait: the 20 kinds have at most 1,000."""
GATHER_SECONDS = 10.0
"""How long an event waits for others that the same commit can write."""
SLOWEST_SECONDS = 300.0
"""The same for an event that only raises the count of a row."""
PACES = 256
"""Rows of which it is known when they were written last."""
SEPARATE = BY_ROOT | {
    Kind.START,
    Kind.STOP,
    Kind.RELOAD,
    Kind.RELOAD_REFUSED,
    Kind.CLOCK,
    Kind.QUARANTINED,
}
"""Kinds whose events each have a row of their own."""
URGENT = SEPARATE - {Kind.CLOCK}
"""Kinds that are written at once. A time server in the network can cause the others."""

_SEPARATE = frozenset(kind.value for kind in SEPARATE)
_URGENT = frozenset(kind.value for kind in URGENT)

Key = tuple[str, str, str, bytes, int]
"""Kind, client, meter, text without numbers, and a number that only events of their own row have."""


class Noted:
    """One event, or several that were merged; times in microseconds."""

    __slots__ = ("client", "detail", "events", "first", "key", "kind", "last", "meter", "monotonic", "text")

    def __init__(
        self, key: Key, text: str, detail: str, *, client: str, meter: str, last: int, monotonic: int
    ) -> None:
        """last, monotonic: when it happened, by the wall clock and by the monotonic clock."""
        self.key = key
        self.kind = key[0]
        self.client = client
        self.meter = meter
        self.text = text
        """Of the first."""
        self.detail = detail
        """Of the last."""
        self.events = 1
        """How many."""
        self.first = self.last = last
        self.monotonic = monotonic
        """Of the last."""


class Waiting:
    """The events that wait. Any thread may call any method; none blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[Key, Noted] = {}
        self._of_kind: Counter[str] = Counter()
        self._lost: dict[str, Noted] = {}
        self._paces: OrderedDict[Key, tuple[float, float]] = OrderedDict()
        self._due = math.inf
        self._number = 0

    def add(
        self, kind: Kind, text: str, client: str, meter: str, detail: str, *, wall: float, now: float
    ) -> bool:
        """Add an event; return whether it is due before all others. wall, now: Unix and monotonic seconds."""
        last, monotonic = int(wall * 1e6), int(now * 1e6)
        name = kind.value
        pattern = without_numbers(text)
        with self._lock:
            separate = name in _SEPARATE
            self._number += separate
            key = name, client, meter, pattern, self._number if separate else 0
            earlier = self._events.get(key)
            if earlier is not None:
                earlier.detail = detail
                earlier.events += 1
                earlier.last, earlier.monotonic = last, monotonic
                return False
            if self._of_kind[name] >= WAITING:
                self._lose(name, last, monotonic)
                return False
            self._of_kind[name] += 1
            self._events[key] = Noted(
                key, text, detail, client=client, meter=meter, last=last, monotonic=monotonic
            )
            due = now if name in _URGENT else self._due_at(key, now)
            sooner = due < self._due
            self._due = min(self._due, due)
            return sooner

    def seconds_to_wait(self, now: float, most: float) -> float:
        """Return after how many seconds an event is due, at most `most`."""
        with self._lock:
            return min(max(self._due - now, 0.0), most)

    def take(self) -> list[Noted]:
        """Return all events, the oldest first, and remove them."""
        with self._lock:
            taken = [*self._events.values(), *self._lost.values()]
            self._events, self._lost = {}, {}
            self._of_kind.clear()
            self._due = math.inf
            return taken

    def mark_written(self, taken: list[Noted], now: float) -> None:
        """Remember when the rows of these events were written: the longer one grows, the less often it is."""
        with self._lock:
            for event in taken:
                first, last = self._paces.pop(event.key, (now, now))
                self._paces[event.key] = (first if now - last <= 2 * SLOWEST_SECONDS else now), now
            while len(self._paces) > PACES:
                self._paces.popitem(last=False)

    def _due_at(self, key: Key, now: float) -> float:
        pace = self._paces.get(key)
        if pace is None:
            return now + GATHER_SECONDS
        first, last = pace
        return max(now + GATHER_SECONDS, last + min(last - first, SLOWEST_SECONDS))

    def _lose(self, kind: str, last: int, monotonic: int) -> None:
        earlier = self._lost.get(kind)
        text = f"events of the kind {kind} were not recorded: too many waited"
        key = Kind.LOST.value, "", "", without_numbers(text), 0
        if earlier is None:
            self._lost[kind] = Noted(key, text, "", client="", meter="", last=last, monotonic=monotonic)
        else:
            earlier.events += 1
            earlier.last, earlier.monotonic = last, monotonic
