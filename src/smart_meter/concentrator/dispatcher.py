"""Hands events on: the only module that knows counters, log and history."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple

from smart_meter.concentrator.events import (
    AccessRefused,
    Disconnected,
    Evicted,
    ExceptionReturned,
    FrameInvalid,
    ProbeAnnounced,
    ReadServed,
    StoreFailed,
    TimedOut,
    UnitUnknown,
)
from smart_meter.concentrator.sink import SampleSink
from smart_meter.log.audit.kinds import EventSink
from smart_meter.log.formatter import Direction, LogFormatter
from smart_meter.log.throttle import AddressThrottle, LogThrottle
from smart_meter.log.token_bucket import TokenBucket
from smart_meter.meters.budget import Budgets
from smart_meter.meters.events import (
    BecameFresh,
    BecameStale,
    BecameWaiting,
    OverBudget,
    SampleCompleted,
    SampleDropped,
    SecondWriter,
    SlowWriter,
    StartAssumed,
    TwoWriters,
    ValueRefused,
    WriterChanged,
)
from smart_meter.meters.meter import Meter
from smart_meter.meters.source import Source
from smart_meter.meters.statistics import PeerTotals, SharedStatus, Statistics
from smart_meter.registers.status_block import State

_SECONDS_BETWEEN_LINES = 10.0
_REVIEW_MASK = 0xFF
"""The sink's backlog is reviewed every 256 samples."""
BUSY_BACKLOG = 1_000
"""Number of waiting samples from which on the event loop yields to the sink's thread after each pass."""
FULL_BACKLOG = 50_000
"""Number of waiting samples, half the maximum, from which on writes are acknowledged after their commit."""


class Peer:
    """A peer's totals, and the token buckets of its lines in the log."""

    __slots__ = ("name", "rx", "totals", "tx")

    def __init__(self, name: str, totals: PeerTotals, rate: float, now: float) -> None:
        self.name = name
        self.totals = totals
        self.rx = TokenBucket(rate, now, totals.received)
        self.tx = TokenBucket(rate, now, totals.served)


class Origin(NamedTuple):
    """The client that an event comes from."""

    address: str
    reader: Peer
    writer: Peer
    client: int = 0
    """The address as `client_number` returns it."""


class Dispatcher:
    """Hands each event to counters, log and history."""

    def __init__(
        self,
        write_line: Callable[[str], None],
        now: Callable[[], float],
        wall: Callable[[], float],
        yield_to_sink: Callable[[bool], None],
    ) -> None:
        """`yield_to_sink` is called with whether the sink's thread needs more time."""
        self.statistics = Statistics()
        self.shared = SharedStatus()
        self._write_line = write_line
        self.ack_after_commit = False
        """Whether a write that completes a sample is answered once the sample is on disk.

        True if it is configured so, and while samples arrive faster than the disk takes them (backpressure).
        """
        self.formatter: LogFormatter
        self.meters: Mapping[str, Meter]
        self._now = now
        self._wall = wall
        self._yield_to_sink = yield_to_sink
        self._throttle = LogThrottle(_SECONDS_BETWEEN_LINES)
        self._addresses = AddressThrottle(_SECONDS_BETWEEN_LINES)
        self._sink: SampleSink | None = None
        self._events: EventSink | None = None
        self.durable = False
        """Whether each write is acknowledged after its commit; then one over the budget is refused."""
        self._rate = 0.0
        self._budgets: dict[str, Budgets] = {}
        """By the meter's name."""

    def reconfigure(self, formatter: LogFormatter, meters: Mapping[str, Meter], rate: float) -> None:
        """Use another log format, and other meters (by name).

        rate: samples per second that a client may store of one meter; 0: no limit.
        """
        self.formatter = formatter
        self.meters = meters
        self._rate = rate
        now = self._now()
        earlier = self._budgets
        self._budgets = {name: earlier.get(name) or Budgets(rate, now) for name in meters}
        for budgets in self._budgets.values():
            budgets.use_rate(rate)

    def expect_writer(self, meter: str, client: int) -> None:
        """Give a client a budget of its own for a meter, if one is left: it wrote it before the start."""
        self._budgets[meter].of(client, self._now())

    def check_budget(self, meter: Meter, client: int) -> None:
        """Mark a meter as busy if a client's next sample would be over its budget."""
        meter.busy = not self._budgets[meter.name].allows(client)

    def use_sink(self, sink: SampleSink | None, *, durable: bool) -> None:
        """Record samples in a sink. durable: whether each is acknowledged after its commit."""
        self._sink = sink
        self.durable = durable
        for meter in self.meters.values():
            meter.busy = False
        self.review_backlog()

    def use_events(self, sink: EventSink | None) -> None:
        """Note events in a sink, the audit trail."""
        self._events = sink

    def review_backlog(self) -> None:
        """Slow the writers down before the sink loses samples; readers are not affected."""
        backlog = self._sink.backlog if self._sink is not None else 0
        self.ack_after_commit = self.durable or backlog >= FULL_BACKLOG
        self._yield_to_sink(backlog >= BUSY_BACKLOG)

    def commit_status(self, ticket: int) -> bool | None:
        """True: the held reply may be sent; False: its sample could not be stored; None: undecided.

        If writes are only slowed down, the reply may also be sent once the disk has failed.
        """
        sink = self._sink
        if self.durable:
            return sink.stored_up_to(ticket) if sink is not None else False
        if not self.ack_after_commit or sink is None:
            return True
        return None if sink.stored_up_to(ticket) is None else True

    def dispatch(self, events: Iterable[object], origin: Origin, function: int = 0) -> int:
        """Count, store and log events of one request; return the ticket that its reply has to wait for, or 0.

        function: the request's function code.
        """
        ticket = 0
        for event in events:
            if type(event) is SampleCompleted:
                # This is the hot path of every write.
                writer = origin.writer
                writer.totals.received += 1
                if self._sink is not None:
                    meter = self.meters[event.meter]
                    budgets, client = self._budgets[event.meter], origin.client
                    budget = budgets.own.get(client) or budgets.of(client, meter.arrived)
                    budget.left -= 1.0
                    if budget.left < 0.0:
                        self._thin(meter, origin)
                    else:
                        recorded = self._sink.record(
                            event.meter,
                            meter.arrived,
                            meter.sample,
                            meter.measured(),
                            meter.flags,
                            client,
                        )
                        if self.ack_after_commit:
                            ticket = recorded
                        # Only now: a review may change the mode, which is for the samples that follow.
                        if not recorded & _REVIEW_MASK:
                            self.review_backlog()
                if writer.rx.tokens >= 1.0:
                    self._log_sample(event, writer)
            elif type(event) is BecameFresh:
                self._write_line(self.formatter.state(event.meter, State.FRESH, 0.0))
            else:
                self._dispatch_other(event, origin, function)
        return ticket

    def _thin(self, meter: Meter, origin: Origin) -> None:
        """Leave a sample out of the history: its client is over its budget."""
        meter.thinned += 1
        self.statistics.thinned += 1
        # The addresses without a budget of their own count as one, so that there are few.
        own = origin.client in self._budgets[meter.name].own
        kind = "thinned", meter.name, origin.client if own else None
        suppressed = self._throttle.allow(kind, self._now())
        if suppressed is not None:
            more = f"; {suppressed} more since the last such line" if suppressed else ""
            text = (
                f"[THINNED] {meter.name}: {origin.writer.name} ({origin.address}) sends more than "
                f"max_samples_per_second ({self._rate:g}): readers get the sample, the history not{more}"
            )
            self._write_line(self.formatter.notice(text))

    def happened(self, events: Iterable[object]) -> None:
        """Log what happened to a meter without a request."""
        for event in events:
            self._log_meter_event(event)

    def disconnected(self, source: Source) -> None:
        """Let the meters know that a connection is gone."""
        for meter in self.meters.values():
            meter.disconnected(source)

    def unknown_client(self, address: str) -> None:
        """Count and log a client in no zone."""
        self.statistics.unknown_clients += 1
        suppressed = self._throttle.allow("unknown client", self._now())
        if suppressed is not None:
            self._write_line(self.formatter.unknown_client(address, suppressed))

    def flush_summaries(self, peers: Iterable[Peer], *, final: bool) -> None:
        """Refill the token buckets of the log, and log how many events were suppressed."""
        now = self._now()
        for budgets in self._budgets.values():
            budgets.refill(now)
        for totals in self.statistics.peers.values():
            totals.notice(now)
        for peer in peers:
            for direction, bucket, total in (
                (Direction.RX, peer.rx, peer.totals.received),
                (Direction.TX, peer.tx, peer.totals.served),
            ):
                bucket.refill(now)
                suppressed = bucket.flush_suppressed(total, now, final=final)
                if suppressed is not None:
                    self._write_line(self.formatter.summary(direction, peer.name, *suppressed, total))

    def _log_sample(self, event: SampleCompleted, writer: Peer) -> None:
        writer.rx.spend()
        sample = self.meters[event.meter].last_sample(self._wall())
        self._write_line(self.formatter.received(sample, writer.name, writer.totals.received))

    def _dispatch_other(self, event: object, origin: Origin, function: int) -> None:
        statistics = self.statistics
        match event:
            case ReadServed():
                origin.reader.tx.spend()
                peer, total = origin.reader.name, origin.reader.totals.served
                self._write_line(
                    self.formatter.served(
                        event.meter, peer, event.address, event.quantity, total, inputs=event.inputs
                    )
                )
            case ExceptionReturned() | StoreFailed() | UnitUnknown():
                statistics.exceptions += 1
                self.shared.unknown_units += isinstance(event, UnitUnknown)
            case AccessRefused():
                if event.writes:
                    self.meters[event.meter].refused += 1
                may = "may only read" if event.read_only else "may not do that"
                self._refused(event.meter, origin, function, f"{may}: function {function} got exception 01")
            case ValueRefused() | OverBudget() | SecondWriter():
                self._write_refused(event, origin, function)
            case ProbeAnnounced():
                statistics.connections -= 1
                statistics.open_connections -= 1
                self._probe(event, origin)
            case FrameInvalid(reason):
                statistics.bad_frames += 1
                self._throttled(
                    "bad frame",
                    origin,
                    lambda name, suppressed: self.formatter.bad_frame(
                        name, origin.address, reason, suppressed
                    ),
                )
            case TimedOut(reason):
                statistics.timed_out += 1
                self._closed("timed out", origin, reason)
            case Evicted():
                statistics.evicted += 1
                self._closed(
                    "evicted", origin, "it was idle for longest, and there were too many connections"
                )
            case Disconnected():
                statistics.open_connections -= 1
            case _:
                self._log_meter_event(event)

    def _log_meter_event(self, event: object) -> None:
        formatter = self.formatter
        match event:
            case BecameStale(meter, age, incomplete):
                self._write_line(formatter.state(meter, State.STALE, age, incomplete))
            case BecameWaiting(meter):
                self._write_line(formatter.state(meter, State.WAITING, None))
            case SampleDropped(meter, dropped):
                self._per_address(
                    ("incomplete", meter), dropped.source, lambda n: formatter.incomplete(meter, dropped, n)
                )
            case WriterChanged(meter, earlier, source):
                self._per_address(
                    ("writer", meter), source, lambda n: formatter.writer(meter, earlier, source, n)
                )
            case TwoWriters(meter, first, second):
                self._per_address(
                    ("two writers", meter), second, lambda n: formatter.two_writers(meter, first, second, n)
                )
            case StartAssumed(meter, source, register):
                self._per_address(
                    ("assumed", meter), source, lambda n: formatter.assumed_start(meter, source, register, n)
                )
            case SlowWriter(meter, source, sample_gap):
                self._per_address(
                    ("slow", meter), source, lambda n: formatter.slow_writer(meter, source, sample_gap, n)
                )
            case _:
                raise TypeError(f"{event!r} is not an event of the concentrator")

    def _per_address(self, kind: Hashable, source: Source, line: Callable[[int], str]) -> None:
        """Log a line about a client unless one of its kind was logged a short while ago."""
        suppressed = self._addresses.allow(kind, source.address, self._now())
        if suppressed is not None:
            self._write_line(line(suppressed))

    def _write_refused(
        self, event: ValueRefused | OverBudget | SecondWriter, origin: Origin, function: int
    ) -> None:
        self.meters[event.meter].refused += 1
        match event:
            case ValueRefused(_, measurement, value):
                what = f"wrote {measurement.name}={measurement.format(value)}, which is out of range"
                code = "03"
            case OverBudget():
                what, code = f"sends more than max_samples_per_second ({self._rate:g})", "06"
            case SecondWriter(_, writer):
                what, code = f'wrote it while {writer} writes it, and writers is "one"', "06"
        self._refused(event.meter, origin, function, f"{what}: function {function} got exception {code}")

    def _refused(self, meter: str, origin: Origin, function: int, reason: str) -> None:
        self.statistics.refused += 1
        self._throttled(
            "refused",
            origin,
            lambda name, suppressed: self.formatter.refused(
                name, origin.address, meter, function, reason=reason, suppressed=suppressed
            ),
        )

    def _probe(self, event: ProbeAnnounced, origin: Origin) -> None:
        self._throttled(
            # The meters are few, and all units without a meter count as one.
            "probe" if event.meter is None else f"probe of {event.meter}",
            origin,
            lambda name, suppressed: self.formatter.probe(
                name,
                origin.address,
                event.meter,
                unit=event.unit,
                functions=event.functions,
                suppressed=suppressed,
            ),
        )

    def _closed(self, kind: str, origin: Origin, reason: str) -> None:
        self._throttled(
            kind,
            origin,
            lambda name, suppressed: self.formatter.closed(name, origin.address, reason, suppressed),
        )

    def _throttled(self, kind: str, origin: Origin, line: Callable[[str, int], str]) -> None:
        """Log a line about a peer unless one of its kind was logged a short while ago."""
        name = origin.reader.name
        suppressed = self._throttle.allow((kind, name), self._now())
        if suppressed is not None:
            self._write_line(line(name, suppressed))
