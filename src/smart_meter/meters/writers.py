"""The addresses that write one meter, each with what its connections have left incomplete: bounded. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from smart_meter.meters.assembly import Dropped, Stream
from smart_meter.meters.rhythm import Basis, Rhythm
from smart_meter.meters.source import Source

MAX_WRITERS = 64
"""Addresses of which something is kept; the one that was silent for longest goes."""
MAX_OPEN = 8
"""Samples of one meter that may be incomplete at the same time."""
SLOW = 3
"""So many samples in a row that each end after another part make a slow writer."""


class Writer:
    """One address that writes a meter."""

    __slots__ = ("_slow", "_slow_part", "address", "rhythm", "sampled", "streams")

    def __init__(self, address: str, rhythm: Rhythm) -> None:
        self.address = address
        self.rhythm = rhythm
        """That of the stream that was written last: a new connection goes on from it."""
        self.streams: list[Stream] = []
        self.sampled: float | None = None
        """When its last sample was complete, in monotonic seconds; the meter sets it."""
        self._slow = 0
        self._slow_part: frozenset[int] = frozenset()

    def is_slow(self, dropped: Dropped) -> bool:
        """Take note of a sample that ended by silence; return whether that was the third of a slow writer.

        A slow writer brings other registers each time. One that leaves some out brings the same ones.
        """
        again = dropped.written & self._slow_part
        self._slow_part = dropped.written
        self._slow = 1 if again or not self._slow else self._slow + 1
        return self._slow == SLOW

    def written_since(self, since: float) -> bool:
        """Whether it wrote after `since`, in monotonic seconds."""
        times = [self.sampled, *(stream.last for stream in self.streams)]
        return any(time is not None and time > since for time in times)

    def completed(self) -> None:
        """Take note of a complete sample."""
        self._slow = 0


class Writers:
    """Finds the stream of a connection, and bounds how many there are."""

    def __init__(self, addresses: frozenset[int], sample_gap: float, start: int | None) -> None:
        """addresses: the map's registers. sample_gap: the longest silence within a sample, in seconds.

        start: the configured first register of a cycle; None: it is to be found.
        """
        self._addresses = addresses
        self._gap = sample_gap
        self._start = start
        self._writers: dict[str, Writer] = {}
        """By address, the one that was silent for longest first."""
        self._streams: dict[Source, Stream] = {}
        self._last: Stream | None = None
        """The stream that was written last, unless another address has written since."""
        self.open: dict[Stream, None] = {}
        """The streams with an incomplete sample."""

    def __iter__(self) -> Iterator[Writer]:
        return iter(self._writers.values())

    def writer(self, address: str, dropped: list[Dropped]) -> Writer:
        """Return an address's writer, and take note that it writes. dropped: gets what is given up."""
        writer = self._writers.pop(address, None)
        if writer is None:
            writer = Writer(address, Rhythm(self._addresses, self._gap, self._start))
            if len(self._writers) >= MAX_WRITERS:
                self._forget(next(iter(self)), dropped)
        self._writers[address] = writer
        self._last = None
        return writer

    def find(self, address: str) -> Writer | None:
        """Return an address's writer if it is known."""
        return self._writers.get(address)

    def stream(self, source: Source, now: float, dropped: list[Dropped]) -> Stream:
        """Return a connection's stream; its first write may continue that of an earlier connection.

        now: monotonic seconds. dropped: gets what is given up.
        """
        stream = self._streams.get(source)
        if stream is not None and stream is self._last:
            return stream
        writer = self.writer(source.address, dropped)
        if stream is not None:
            writer.rhythm = stream.rhythm
            self._last = stream
            return stream
        earlier = [s for s in writer.streams if s.closed] or [s for s in writer.streams if s.silent(now)]
        if earlier:
            stream = max(earlier, key=lambda s: s.last or 0.0)
            del self._streams[stream.source]
            stream.source, stream.closed = source, False
            writer.rhythm = stream.rhythm
        else:
            # Another connection of the address writes at this moment: the two are not mixed.
            stream = Stream(self._addresses, writer.rhythm.copy(), source)
            writer.streams.append(stream)
        self._streams[source] = stream
        return stream

    def peek(self, source: Source, now: float) -> Stream:
        """Return a copy of what `stream` would return, and change nothing."""
        stream = self._streams.get(source)
        if stream is None:
            writer = self._writers.get(source.address)
            if writer is None:
                return Stream(self._addresses, Rhythm(self._addresses, self._gap, self._start), source)
            earlier = [s for s in writer.streams if s.closed] or [s for s in writer.streams if s.silent(now)]
            if not earlier:
                return Stream(self._addresses, writer.rhythm.copy(), source)
            stream = max(earlier, key=lambda s: s.last or 0.0)
        return stream.copy()

    def written(self, stream: Stream, dropped: list[Dropped]) -> None:
        """Take note of what a write has left open. dropped: gets what is given up if that is too much."""
        if not stream.pending:
            self.open.pop(stream, None)
            return
        self.open[stream] = None
        if len(self.open) > MAX_OPEN:
            addresses = [s.source.address for s in self.open]
            most = max(map(addresses.count, addresses))
            candidates = [s for s in self.open if addresses.count(s.source.address) == most]
            victim = min(candidates, key=lambda s: s.last or 0.0)
            self.drop(victim, f"more than {MAX_OPEN} samples were incomplete", dropped)

    def drop(self, stream: Stream, reason: str, dropped: list[Dropped]) -> None:
        """Give up a stream's incomplete sample."""
        stream.give_up(reason, dropped)
        self.open.pop(stream, None)
        self._tidy(stream)

    def whole(self, source: Source, dropped: list[Dropped]) -> None:
        """Take note that a connection wrote a whole sample by one request."""
        stream = self._streams.get(source)
        if stream is not None and stream.pending:
            self.drop(stream, "a whole sample came by one request", dropped)

    def drop_silent(self, now: float, dropped: list[Dropped]) -> None:
        """Give up what is incomplete and was not continued in time. now: monotonic seconds."""
        for stream in [s for s in self.open if s.silent(now)]:
            stream.give_up_silent(dropped)
            del self.open[stream]
            self._tidy(stream)

    def drop_all(self, reason: str, dropped: list[Dropped]) -> None:
        """Give up all that is incomplete."""
        for stream in list(self.open):
            self.drop(stream, reason, dropped)

    def drop_others(self, address: str, reason: str, dropped: list[Dropped]) -> None:
        """Give up what other addresses have left incomplete."""
        for stream in [s for s in self.open if s.source.address != address]:
            self.drop(stream, reason, dropped)

    def disconnected(self, source: Source) -> None:
        """Take note that a connection is gone."""
        stream = self._streams.get(source)
        if stream is not None:
            stream.closed = True
            self._tidy(stream)

    def written_since(self, since: float) -> list[str]:
        """Return the addresses that wrote after `since`, in monotonic seconds."""
        return [writer.address for writer in self if writer.written_since(since)]

    def assumed(self) -> list[str]:
        """Return the addresses whose samples are assumed to begin with the map's first register."""
        return [writer.address for writer in self if writer.rhythm.basis is Basis.ASSUMED]

    def _tidy(self, stream: Stream) -> None:
        """Forget a stream of a connection that is gone, unless it is the address's last one."""
        writer = self._writers.get(stream.source.address)
        if writer is not None and stream.closed and not stream.pending and len(writer.streams) > 1:
            writer.streams.remove(stream)
            del self._streams[stream.source]

    def _forget(self, writer: Writer, dropped: list[Dropped]) -> None:
        for stream in writer.streams:
            stream.give_up(f"more than {MAX_WRITERS} addresses write", dropped)
            self.open.pop(stream, None)
            del self._streams[stream.source]
        del self._writers[writer.address]
