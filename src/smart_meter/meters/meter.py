"""One meter: a unit identifier, its registers, and how fresh they are.

Pure: the time is an argument, and what happened is returned as events.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from smart_meter.config import MeterConfig, OnStale, OutOfRange, Publish, Writers
from smart_meter.meters.assembly import Dropped, Request, Stream
from smart_meter.meters.contention import Contention
from smart_meter.meters.events import (
    BecameFresh,
    BecameStale,
    BecameWaiting,
    OverBudget,
    SampleCompleted,
    StartAssumed,
    ValueRefused,
)
from smart_meter.meters.identity import identify
from smart_meter.meters.parts import Parts
from smart_meter.meters.rhythm import Basis
from smart_meter.meters.sample import Sample
from smart_meter.meters.source import NOBODY, Source
from smart_meter.meters.span import Span
from smart_meter.meters.statistics import SharedStatus
from smart_meter.meters.translation import translate
from smart_meter.modbus.functions import Bank, Events, ExceptionCode, whole_write_head
from smart_meter.registers import status_block
from smart_meter.registers.status_block import State

OUT_OF_RANGE = 1
"""A sample's flag: at least one value lies outside its measurement's minimum and maximum."""

# A member of an enumeration costs a look-up each time.
_FRESH = State.FRESH
_WAITING = State.WAITING
_ASSUMED = Basis.ASSUMED


class Meter(Bank):
    """The registers of one unit identifier and the last complete sample in them."""

    __slots__ = (
        "_completed",
        "_config",
        "_contention",
        "_fingerprint",
        "_gappy",
        "_immediate",
        "_known",
        "_limited",
        "_mask",
        "_only_one",
        "_open",
        "_overdue",
        "_parts",
        "_refuses",
        "_sequence",
        "_shared",
        "_shown",
        "_span",
        "_timestamp",
        "_waited",
        "arrived",
        "busy",
        "due",
        "flags",
        "map",
        "name",
        "partial_writes",
        "refused",
        "sample",
        "sample_head",
        "samples",
        "stale_after",
        "state",
        "thinned",
        "unit_id",
        "version",
    )

    def __init__(self, config: MeterConfig, device: str = "", shared: SharedStatus | None = None) -> None:
        """device: the concentrator's own name, for the identification. shared: by all meters."""
        super().__init__(config.map.start, config.map.quantity, identify(config, device))
        self._config = config
        self.stale_after = config.stale_after or math.inf
        """Seconds after which a sample is too old."""
        self.name = config.name
        self.unit_id = config.unit_id
        self.map = config.map
        self._completed: tuple[int, Events] = 0, (SampleCompleted(config.name),)
        """The result of nearly every write, made once."""
        self.sample_head = whole_write_head(self.start, self.end - self.start)
        """How a request that writes a whole sample begins: what follows the unit identifier."""
        self._span = Span(config.map)
        self._gappy = self._span.gappy
        self._fingerprint = config.map.fingerprint
        self._limited = bool(self._span.limited)
        self._timestamp = config.map.timestamp
        self._immediate, self._only_one = config.publish is Publish.IMMEDIATE, config.writers is Writers.ONE
        self._refuses = self._limited and config.out_of_range is OutOfRange.REFUSE
        self.sample = self.view
        """The last complete sample: every register of the span, in wire order, 0 in gaps of the map."""
        self._shown = self.view
        """What is read unless it is too old: the last sample, with what came since if that is published."""
        self._known: frozenset[int] = frozenset()
        """The registers that a client sent under this map."""
        self._parts = Parts(config, self._span)
        self._open = self._parts.writers.open
        self._contention = Contention(config.name, config.sample_gap)
        self.busy = False
        """Whether a write that would complete a sample is refused: its client is over its budget."""
        self._shared = shared or SharedStatus()
        self._count_from_zero()
        self.version = 0
        """Changes with whatever changes what is read."""
        self.flags = 0
        """The last sample's."""
        self._mask = 0
        """Which of the values that are read are out of range."""
        self._sequence = 0
        """The last sample's number before the start."""
        self.state = State.WAITING
        self.arrived = -math.inf
        """When the last sample was complete, in monotonic seconds; minus infinity before the first."""
        self.due = math.inf
        """When the sample will be too old, in monotonic seconds."""
        self._waited = False
        """Whether it was reported that the first sample is late."""
        self._overdue = True
        """Whether readers get what is configured for stale values."""
        self._show(self._shown)

    def _count_from_zero(self) -> None:
        self.samples = 0
        """Complete samples since the start."""
        self.refused = 0
        """Writes that were refused since the start; counted by the dispatcher."""
        self.partial_writes = 0
        """Writes since the start that changed what readers get without completing a sample."""
        self.thinned = 0
        """Samples that were left out of the history since the start."""

    # What clients do

    def store(self, values: bytes, now: float, source: Source = NOBODY) -> tuple[int, Events]:
        """Store a whole sample; return 0, or an exception code if it is refused.

        The code is 03 for a value out of range, and 06 for a second writer or if the meter is `busy`. With it
        comes what happened. values: every register of the span, in wire order. now: monotonic seconds.
        """
        if self._only_one and self.state is _FRESH and (second := self._contention.second(source)):
            return ExceptionCode.SERVER_DEVICE_BUSY, second
        if self._gappy:
            values = self._span.without_gaps(values)
        if self._refuses:
            refused = self._refused(values, self._span.addresses)
            if refused is not None:
                return ExceptionCode.ILLEGAL_DATA_VALUE, (refused,)
        if self.busy:
            return ExceptionCode.SERVER_DEVICE_BUSY, (OverBudget(self.name),)
        writer = self._contention.source
        if not self._open and writer is not None and source.address == writer.address:
            # This is the hot path, whichever connection of the address it is.
            return self._take(values, now)
        dropped: list[Dropped] = []
        self._parts.writers.whole(source, dropped)
        events = self._note_writer(source, now, dropped)
        code, completed = self._take(values, now)
        return code, (*events, *completed)

    def write(
        self,
        address: int,
        values: bytes,
        now: float,
        *,
        source: Source | None = None,
        then_read: bool = False,
    ) -> tuple[int, Events]:
        """Store registers; return 0, or the exception code if nothing is stored, and what happened.

        It is 06 for a second writer, 03 for a value that is out of range, and 06 if the meter is `busy` and
        the write would complete a sample. now: monotonic seconds.
        then_read: whether the same request reads registers afterwards; if stale values are answered with an
        exception, the write has to complete a sample.

        Registers that are not the whole map are put together to samples as `assembly` describes.
        """
        source = source or NOBODY
        if len(values) == self._span.size:
            return self.store(values, now, source)
        end, in_map = address + len(values) // 2, self._span.in_map(address, values)
        request = Request((address, values), address, end, in_map)
        return self._write_part(request, now, source, then_read=then_read)

    def mask(
        self, address: int, keep: int, bits: int, now: float, *, source: Source | None = None
    ) -> tuple[int, Events]:
        """Change bits of a register: the client's own of an incomplete sample, or that of the last sample.

        The rest is as with `write`.
        """
        source = source or NOBODY
        values: dict[int, int] = {}
        if address in self._span.addresses:
            own = self._parts.own(source, address, ~keep & 0xFFFF, now)
            # The other register of the same value stays as it is: it counts as sent.
            held = {
                a: own[a] if a in own else self._span.register(self.sample, a)
                for a in self._span.values[address]
            }
            values = {a: v for a, v in held.items() if a in own or a in self._known}
            values[address] = held[address] & keep | bits & ~keep & 0xFFFF
        if len(values) == len(self._span.addresses):
            return self.store(self._span.merged(self.sample, values), now, source)
        request = Request(("mask", address, keep, bits), address, address + 1, values, ~keep & 0xFFFF)
        return self._write_part(request, now, source)

    def disconnected(self, source: Source) -> None:
        """Take note that a connection is gone: another one of its address may go on."""
        self._parts.writers.disconnected(source)

    def input_registers(self, now: float) -> bytes:
        """Return the status block: it is read as input registers. now: monotonic seconds."""
        return status_block.encode(
            self.state,
            self.age(now),
            samples=self.samples,
            refused=self.refused,
            fingerprint=self._fingerprint,
            sequence=self.sequence,
            out_of_range=self._mask,
            partial_writes=self.partial_writes,
            incomplete_samples=self.incomplete_samples,
            thinned_samples=self.thinned,
            unknown_units=self._shared.unknown_units,
            writer_changes=self.writer_changes,
            generation=self._shared.generation,
            writers=self._contention.writers(self._parts.writers, self.arrived, now),
        )

    def _take(self, values: bytes, now: float) -> tuple[int, Events]:
        """Let values be the last complete sample."""
        self.sample = self._shown = values
        self.version += 1
        self.samples += 1
        self.arrived = now
        self.due = now + self.stale_after
        if self.state is _FRESH:
            self.view = values
            if self._limited:
                self._mask = mask = self._span.out_of_range(values)
                self.flags = OUT_OF_RANGE if mask else 0
            return self._completed
        recovered = self.state is State.STALE
        self.state = State.FRESH
        self._known = self._span.addresses
        self._waited = False
        self._overdue = False
        self._show(values)
        self.flags = OUT_OF_RANGE if self._mask else 0
        return (0, (*self._completed[1], BecameFresh(self.name))) if recovered else self._completed

    def _write_part(
        self, request: Request, now: float, source: Source, *, then_read: bool = False
    ) -> tuple[int, Events]:
        if self._only_one and self.state is _FRESH and (second := self._contention.second(source)):
            return ExceptionCode.SERVER_DEVICE_BUSY, second
        if self._refuses or self.busy or (then_read and self.failure):
            code, events = self._try(request, now, source, then_read=then_read)
            if code:
                return code, events
        dropped: list[Dropped] = []
        events = ()
        writers = self._parts.writers
        stream = writers.stream(source, now, dropped)
        rhythm = stream.rhythm
        basis = rhythm.basis
        whole = self._parts.add(stream, request, now, dropped)
        if whole is not None and self._known | whole.keys() >= self._span.addresses:
            values = self._span.merged(self.sample, whole)
            writers.written(stream, dropped)
            noted = self._note_writer(source, now, dropped)
            events = (*noted, *self._take(values, now)[1])
        else:
            if whole is not None:
                self.sample = self._span.merged(self.sample, whole)
                self._known |= whole.keys()
            if self._immediate:
                self._show_part(stream, request, whole)
            writers.written(stream, dropped)
            if dropped:
                events = self._parts.report(dropped, self.samples)
            if len(self._open) > 1:
                events = (*events, *self._contention.wrote_part(source, writers, now))
            if self.state is _WAITING and not self._waited:
                self.due = min(self.due, now + self.stale_after)
        if rhythm.basis is not basis and rhythm.basis is _ASSUMED:
            events = (StartAssumed(self.name, source, self.start), *events)
        return 0, events

    def _try(self, request: Request, now: float, source: Source, *, then_read: bool) -> tuple[int, Events]:
        """Return the exception code of a write that is to be refused, and why; change nothing."""
        whole, pending = self._parts.attempt(request, now, source)
        if self._refuses:
            seen = pending if whole is None else whole
            refused = self._refused(self._span.merged(self.sample, seen), seen.keys())
            if refused is not None:
                return ExceptionCode.ILLEGAL_DATA_VALUE, (refused,)
        completes = whole is not None and self._known | whole.keys() >= self._span.addresses
        if completes and self.busy:
            return ExceptionCode.SERVER_DEVICE_BUSY, (OverBudget(self.name),)
        if then_read and self.failure and not completes:
            # Only a complete sample makes the meter fresh, so that it can be read.
            return self.failure, ()
        return 0, ()

    def _show_part(self, stream: Stream, request: Request, whole: dict[int, int] | None) -> None:
        """Let readers see what came: whole values of one cycle."""
        shown = self._span.merged(self._shown, self._parts.visible(stream, request, whole))
        if shown == self._shown:
            return
        before = self.view
        self._show(shown)
        if self.view != before and not self.failure:
            self.partial_writes += 1
            stream.visible = True

    # Who writes

    def _note_writer(self, source: Source, now: float, dropped: list[Dropped]) -> Events:
        """Take note of who completes a sample; return what that means."""
        if not source.address:
            return self._parts.report(dropped, self.samples)
        if self._only_one:
            self._parts.writers.drop_others(source.address, f"{source.address} completed a sample", dropped)
        writer = self._parts.writers.writer(source.address, dropped)
        writer.completed()
        noted = self._contention.completed(source, writer, self._parts.writers, self.arrived, now)
        return (*self._parts.report(dropped, self.samples), *noted)

    def _refused(self, image: bytes, written: Collection[int]) -> ValueRefused | None:
        """Return the first value that is whole in `written` and out of range."""
        found = self._span.first_out_of_range(image, written)
        return None if found is None else ValueRefused(self.name, *found)

    @property
    def writer(self) -> Source | None:
        """Return who wrote the last sample; None: there was none since the start."""
        return self._contention.source

    @property
    def sequence(self) -> int:
        """Return the last sample's number."""
        return self._sequence + self.samples

    @property
    def incomplete_samples(self) -> int:
        """Return how many samples were dropped since the start because they did not become whole."""
        return self._parts.dropped

    @property
    def writer_changes(self) -> int:
        """Return how often another address took over since the start."""
        return self._contention.changes

    def assumed_starts(self) -> list[str]:
        """Return the addresses whose samples are assumed to begin with the map's first register."""
        return self._parts.writers.assumed()

    # What time does

    def check(self, now: float) -> Events:
        """Mark an overdue sample as stale, and drop what nobody completes; return what happened.

        now: monotonic seconds.
        """
        events: list[object] = []
        if now >= self.due:
            self.due = math.inf
            events.append(BecameStale(self.name, self.age(now), self._parts.incomplete(self.samples)))
            if self.state is State.WAITING:
                self._waited = True
            else:
                self.state = State.STALE
                self._overdue = True
                self._show(self._shown)
        if self._open:
            events += self._parts.drop_silent(now, self.samples)
        return tuple(events)

    def age(self, now: float) -> float | None:
        """Return the seconds since the last sample was complete; None before the first."""
        return None if self.arrived == -math.inf else now - self.arrived

    # What is kept over a restart or a new configuration

    def restore(self, registers: bytes, age: float | None, sequence: int, now: float) -> None:
        """Take the last values of an earlier run. `age` in seconds; None: nobody knows, so they are too old.

        registers: the whole span, in wire order, of a sample under this map. now: monotonic seconds.
        """
        if len(registers) != self._span.size:
            return
        self.sample = self._span.without_gaps(registers)
        self._known = self._span.addresses
        self.flags = OUT_OF_RANGE if self._span.out_of_range(self.sample) else 0
        self._sequence = sequence - self.samples
        self.state = State.RESTORED
        if age is not None:
            self.arrived = now - age
        if self.stale_after == math.inf or (age is not None and age < self.stale_after):
            self._overdue = False
            self.due = self.arrived + self.stale_after if age is not None else math.inf
        self._show(self.sample)

    def number_from(self, sequence: int) -> None:
        """Number the next samples from a number on, unless the meter has reached a higher one."""
        self._sequence = max(self._sequence, sequence - self.samples)

    def take_over(self, earlier: Meter, now: float) -> Events:
        """Go on from a meter of an earlier configuration; return what happened. now: monotonic seconds.

        Readers get only values that a client sent. Under another map, the meter goes on only if every value
        could be taken over; otherwise it waits for a sample.
        """
        self.samples = earlier.samples
        self.refused = earlier.refused
        self.partial_writes = earlier.partial_writes
        self.thinned = earlier.thinned
        self._sequence = earlier._sequence
        self._contention.take_over(earlier._contention)
        same_map = earlier.map.fingerprint == self.map.fingerprint
        if same_map:
            self.sample, self._known = earlier.sample, earlier._known
        else:
            carried = translate(earlier.map, earlier.registers(), earlier._known, self.map)
            self.sample, self._known = self._span.merged(self.sample, carried), frozenset(carried)
        shown = earlier._shown if same_map and self._immediate else self.sample
        events = self._parts.take_over(earlier._parts, self.samples, same_map=same_map)
        self._open = self._parts.writers.open
        self.flags = OUT_OF_RANGE if self._span.out_of_range(self.sample) else 0
        if earlier.state is not State.WAITING and self._known == self._span.addresses:
            self.arrived = earlier.arrived
            self.state = earlier.state
            self.due = self.arrived + self.stale_after if self.stale_after < math.inf else math.inf
            self._overdue = now >= self.due
            if self._overdue:
                self.due = math.inf
                self.state = State.STALE if self.state is State.FRESH else self.state
            elif self.state is State.STALE:
                self.state = State.FRESH
        elif earlier.state is not State.WAITING:
            events = (*events, BecameWaiting(self.name))
        self._show(shown)
        return events

    # What others ask for

    def registers(self) -> tuple[int, ...]:
        """Return the registers of the last complete sample."""
        return self._span.registers(self.sample)

    def last_sample(self, wall: float) -> Sample:
        """Return the sample that was completed last. wall: Unix seconds when it arrived."""
        registers = self.registers()
        values = self.map.values(registers)
        measured = values.pop(self._timestamp.name) if self._timestamp else None
        return Sample(
            self.name,
            values,
            None if measured is None else int(measured),
            self.arrived,
            wall,
            frozenset(self.map.out_of_range(registers)),
        )

    def measured(self) -> int | None:
        """Return the Unix seconds of the map's timestamp as the last sample has them; None: there is none."""
        return self._span.timestamp(self.sample)

    def _show(self, shown: bytes) -> None:
        """Let readers get these registers, or what is configured for stale values."""
        self._shown = self.view = shown
        self.version += 1
        self.failure = 0
        if self._overdue:
            if self._config.on_stale is OnStale.EXCEPTION:
                self.failure = ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND
            elif self._config.on_stale is OnStale.SENTINEL:
                self.view = self._span.merged(shown, self._span.sentinels)
        if self._limited:
            self._mask = self._span.out_of_range(self.view)
