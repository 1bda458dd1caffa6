"""What clients write in parts to one meter: who, what is incomplete, and what was dropped. Pure."""

from __future__ import annotations

from smart_meter.config import Complete, MeterConfig
from smart_meter.meters.assembly import Dropped, Request, Stream
from smart_meter.meters.events import SampleDropped, SlowWriter
from smart_meter.meters.source import Source
from smart_meter.meters.span import Span
from smart_meter.meters.writers import Writers
from smart_meter.modbus.functions import Events


class Parts:
    """The incomplete samples of a meter."""

    __slots__ = ("_any", "_config", "_last", "_span", "dropped", "writers")

    def __init__(self, config: MeterConfig, span: Span) -> None:
        self._config = config
        self._span = span
        self._any = config.complete is Complete.ANY
        self.writers = Writers(span.addresses, config.sample_gap, config.sample_starts_at)
        self.dropped = 0
        """How many samples were dropped because they did not become whole."""
        self._last: tuple[int, Dropped] | None = None
        """The last one of them, and how many were complete by then."""

    def add(
        self, stream: Stream, request: Request, now: float, dropped: list[Dropped]
    ) -> dict[int, int] | None:
        """Return the registers that are complete with a write: all of the map, or those of single values.

        dropped: gets what is given up. now: monotonic seconds.
        """
        if self._any:
            return stream.write_values(request, now, self._span.values, dropped) or None
        return stream.take() if stream.write(request, now, dropped) else None

    def attempt(
        self, request: Request, now: float, source: Source
    ) -> tuple[dict[int, int] | None, dict[int, int]]:
        """Return what `add` would return, and what would be pending; change nothing."""
        stream = self.writers.peek(source, now)
        whole = self.add(stream, request, now, [])
        return whole, stream.pending

    def own(self, source: Source, address: int, bits: int, now: float) -> dict[int, int]:
        """Return the registers of a client's incomplete sample that a change of bits refers to."""
        return self.writers.peek(source, now).own(address, bits, now)

    def visible(self, stream: Stream, request: Request, whole: dict[int, int] | None) -> dict[int, int]:
        """Return which registers readers may see after a write: whole values of one cycle.

        whole: what `add` returned.
        """
        seen = dict(whole) if whole else {}
        if not self._any:
            values, pending = self._span.values, stream.pending
            for address in request.values:
                registers = values[address]
                if stream.belong_together(registers):
                    for register in registers:
                        seen[register] = pending[register]
        return seen

    def report(self, dropped: list[Dropped], samples: int) -> Events:
        """Count samples that were dropped; return the events. samples: how many are complete by now."""
        events: list[object] = []
        for drop in dropped:
            self.dropped += 1
            self._last = samples, drop
            events.append(SampleDropped(self._config.name, drop))
            writer = self.writers.find(drop.source.address)
            # Where each write is a sample, no writer is too slow for one.
            if drop.silent and not self._any and writer is not None and writer.is_slow(drop):
                events.append(SlowWriter(self._config.name, drop.source, self._config.sample_gap))
        return tuple(events)

    def drop_silent(self, now: float, samples: int) -> Events:
        """Drop what was not continued in time; return the events. now: monotonic seconds."""
        dropped: list[Dropped] = []
        self.writers.drop_silent(now, dropped)
        return self.report(dropped, samples)

    def incomplete(self, samples: int) -> Dropped | None:
        """Return what came of the sample after the last complete one; None if nothing did."""
        for stream in self.writers.open:
            return stream.incomplete()
        if self._last is None or self._last[0] != samples:
            return None
        return self._last[1]

    def take_over(self, earlier: Parts, samples: int, *, same_map: bool) -> Events:
        """Go on with what is incomplete if it would be put together in the same way; drop it otherwise."""
        self.dropped, self._last = earlier.dropped, earlier._last
        old, new = earlier._config, self._config
        settings = (old.sample_gap, old.sample_starts_at, old.complete)
        if same_map and settings == (new.sample_gap, new.sample_starts_at, new.complete):
            self.writers = earlier.writers
            return ()
        dropped: list[Dropped] = []
        earlier.writers.drop_all("another configuration was loaded", dropped)
        return self.report(dropped, samples)
