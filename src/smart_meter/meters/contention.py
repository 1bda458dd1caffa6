"""Which address writes a meter, and whether a second one does. Pure."""

from __future__ import annotations

from smart_meter.meters.events import SecondWriter, TwoWriters, WriterChanged
from smart_meter.meters.source import Source
from smart_meter.meters.writers import Writer, Writers
from smart_meter.modbus.functions import Events

TOGETHER_SECONDS = 60.0
"""Two addresses that write within this time write a meter together."""
_PAIRS = 64
"""Pairs of such addresses that are remembered, so that each is reported once."""


class Contention:
    """The writer of the last sample, and the pairs of addresses that wrote at the same time."""

    __slots__ = ("_long", "_meter", "_pairs", "changes", "source")

    def __init__(self, meter: str, sample_gap: float) -> None:
        """meter: its name. sample_gap: the longest silence within a sample, in seconds."""
        self._meter = meter
        self._long = max(TOGETHER_SECONDS, sample_gap)
        self.source: Source | None = None
        """Who wrote the last sample."""
        self.changes = 0
        """How often another address took over."""
        self._pairs: dict[frozenset[str], float] = {}
        """When two addresses wrote at the same time, in monotonic seconds."""

    def take_over(self, earlier: Contention) -> None:
        """Go on from that of an earlier configuration."""
        self.source, self.changes, self._pairs = earlier.source, earlier.changes, earlier._pairs

    def second(self, source: Source) -> Events:
        """Return that a write comes from another address than the last sample; nothing if it does not."""
        first = self.source
        if first is None or first.address == source.address:
            return ()
        return (SecondWriter(self._meter, first.address),)

    def writers(self, writers: Writers, arrived: float, now: float) -> int:
        """Return how many addresses wrote within the last 60 s.

        arrived: when the last sample was complete, in monotonic seconds, as `now`.
        """
        since = now - TOGETHER_SECONDS
        current = "" if self.source is None else self.source.address
        # The writer of whole samples is not in `writers` as long as it is the only one.
        found = {current} if current and arrived > since else set()
        return len(found.union(writers.written_since(since)))

    def completed(
        self, source: Source, writer: Writer, writers: Writers, arrived: float, now: float
    ) -> Events:
        """Take note of who completes a sample; return what that means.

        writer: the one of the source's address. arrived: when the sample before was complete, in monotonic
        seconds, as `now`.
        """
        previous, self.source = self.source, source
        if previous is None:
            return (WriterChanged(self._meter, None, source),)
        if previous.address == source.address:
            return ()
        self.changes += 1
        earlier = writers.find(previous.address)
        if earlier is not None:
            earlier.sampled = arrived
        if writer.sampled is not None and now - writer.sampled < self._long:
            # It took over a moment ago, which was reported then.
            return self._together(previous, source, now)
        return (WriterChanged(self._meter, previous, source),)

    def wrote_part(self, source: Source, writers: Writers, now: float) -> Events:
        """Return that two addresses write at the same time, if another one has an incomplete sample, too."""
        for stream in writers.open:
            if stream.source.address != source.address:
                return self._together(stream.source, source, now)
        return ()

    def _together(self, first: Source, second: Source, now: float) -> Events:
        pair = frozenset((first.address, second.address))
        last = self._pairs.get(pair)
        if len(self._pairs) >= _PAIRS:
            self._pairs.clear()
        self._pairs[pair] = now
        if last is not None and now - last < self._long:
            return ()
        return (TwoWriters(self._meter, first, second),)
