"""Hands events on: the only module that knows counters, log and history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from smart_meter.concentrator.clients import Clients
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
from smart_meter.concentrator.reports import Reports
from smart_meter.concentrator.sink import SampleSink
from smart_meter.log.audit.kinds import EventSink
from smart_meter.log.formatter import Direction, LogFormatter
from smart_meter.log.token_bucket import FirstAfterSilence, TokenBucket
from smart_meter.meters.budget import Budgets
from smart_meter.meters.events import (
    BecameFresh,
    OverBudget,
    SampleCompleted,
    SampleDropped,
    SecondWriter,
    ValueRefused,
)
from smart_meter.meters.meter import Meter
from smart_meter.meters.source import Source
from smart_meter.meters.statistics import PeerTotals, SharedStatus, Statistics
from smart_meter.modbus.attempt import Attempt, attempt
from smart_meter.modbus.functions import ExceptionCode

_REVIEW_MASK = 0xFF
"""The sink's backlog is reviewed every 256 samples."""
BUSY_BACKLOG = 1_000
"""Number of waiting samples from which on the event loop yields to the sink's thread after each pass."""
FULL_BACKLOG = 50_000
"""Number of waiting samples, half the maximum, from which on writes are acknowledged after their commit."""


_REASONS: dict[int, str] = {
    ExceptionCode.ILLEGAL_FUNCTION: "the function is not supported",
    ExceptionCode.ILLEGAL_DATA_ADDRESS: "the map has registers {first}-{last}",
    ExceptionCode.ILLEGAL_DATA_VALUE: "its length or its quantity is not valid",
    ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND: "the meter has no fresh values to be read",
}
"""Why a write got an exception, by its code."""
_Refusal = UnitUnknown | ExceptionReturned | AccessRefused | ValueRefused | OverBudget | SecondWriter


class Peer:
    """A peer's totals, and what limits its lines in the log. rate: of the lines about samples, per second."""

    __slots__ = ("name", "rx", "totals", "tx")

    def __init__(self, name: str, totals: PeerTotals, rate: float, now: float) -> None:
        self.name = name
        self.totals = totals
        self.rx = TokenBucket(rate, now, totals.received)
        self.tx = FirstAfterSilence(now, totals.served, lines=rate > 0)


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
        self.reports = Reports(write_line, now)
        self.clients = Clients()
        """The last clients that wrote."""
        self.meters: Mapping[str, Meter]
        self._now = now
        self._wall = wall
        self._yield_to_sink = yield_to_sink
        self._sink: SampleSink | None = None
        self.durable = False
        """Whether each write is acknowledged after its commit; then one over the budget is refused."""
        self._rate = 0.0
        self._budgets: dict[str, Budgets] = {}
        """By the meter's name."""
        self._shown: dict[str, int] = {}
        """How many writes were reported that readers saw without a complete sample, by the meter's name."""

    def reconfigure(self, formatter: LogFormatter, meters: Mapping[str, Meter], rate: float) -> None:
        """Use another log format, and other meters (by name).

        rate: samples per second that a client may store of one meter; 0: no limit.
        """
        self.formatter = self.reports.formatter = formatter
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
        """Note what happens in the audit trail; None: there is none."""
        self.reports.events = sink

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

    def dispatch(self, events: Iterable[object], origin: Origin, request: bytes = b"") -> int:
        """Count, store and log events of one request; return the ticket that its reply has to wait for, or 0.

        request: its ADU; empty if the events are not those of a request.
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
                    self._log_sample(event, origin)
            elif type(event) is BecameFresh:
                self.reports.fresh(event.meter, origin.address)
            else:
                self._dispatch_other(event, origin, request)
        return ticket

    def _thin(self, meter: Meter, origin: Origin) -> None:
        """Leave a sample out of the history: its client is over its budget."""
        meter.thinned += 1
        self.statistics.thinned += 1
        self.reports.thinned(origin.writer.name, origin.address, meter.name, self._rate)

    def happened(self, events: Iterable[object]) -> None:
        """Count and report what happened to a meter without a request."""
        for event in events:
            self._meter_event(event)

    def review_parts(self, meter: Meter) -> None:
        """Report values that readers got before every value came once, if each write is a sample.

        Otherwise they belong to an incomplete sample, which is reported when it is dropped.
        """
        if meter.partial_writes != self._shown.get(meter.name, 0):
            self._shown[meter.name] = meter.partial_writes
            self.reports.shown(meter.name, meter.partial_writes)

    def disconnected(self, source: Source) -> None:
        """Let the meters know that a connection is gone."""
        for meter in self.meters.values():
            meter.disconnected(source)

    def unknown_client(self, address: str) -> None:
        """Count and log a client in no zone."""
        self.statistics.unknown_clients += 1
        self.reports.unknown_client(address)

    def flush_summaries(self, peers: Iterable[Peer], *, final: bool) -> None:
        """Let the log take lines again, and log how many samples and reads had none."""
        now = self._now()
        self.reports.flush()
        for budgets in self._budgets.values():
            budgets.refill(now)
        for totals in self.statistics.peers.values():
            totals.notice(now)
        for peer in peers:
            peer.rx.refill(now)
            peer.tx.refill(peer.totals.served, now)
            for direction, bucket, total in (
                (Direction.RX, peer.rx, peer.totals.received),
                (Direction.TX, peer.tx, peer.totals.served),
            ):
                suppressed = bucket.flush_suppressed(total, now, final=final)
                if suppressed is not None:
                    self._write_line(self.formatter.summary(direction, peer.name, *suppressed, total))

    def _log_sample(self, event: SampleCompleted, origin: Origin) -> None:
        writer = origin.writer
        writer.rx.spend()
        sample = self.meters[event.meter].last_sample(self._wall())
        line = self.formatter.received(sample, writer.name, origin.address, writer.totals.received)
        self._write_line(line)

    def _dispatch_other(self, event: object, origin: Origin, request: bytes) -> None:
        statistics = self.statistics
        reports, peer, client = self.reports, origin.reader.name, origin.address
        match event:
            case ReadServed():
                origin.reader.tx.spend()
                total = origin.reader.totals.served
                self._write_line(
                    self.formatter.served(
                        event.meter, peer, event.address, event.quantity, total, inputs=event.inputs
                    )
                )
            case StoreFailed():
                statistics.exceptions += 1
            case UnitUnknown() | ExceptionReturned() | AccessRefused() | ValueRefused():
                self._refused(event, origin, attempt(request))
            case OverBudget() | SecondWriter():
                self._refused(event, origin, attempt(request))
            case ProbeAnnounced(meter, unit, functions):
                statistics.connections -= 1
                statistics.open_connections -= 1
                reports.probe(peer, client, meter, unit=unit, functions=functions)
            case FrameInvalid(reason):
                statistics.bad_frames += 1
                reports.bad_frame(peer, client, reason)
            case TimedOut(reason):
                statistics.timed_out += 1
                reports.closed("timed out", peer, client, reason)
            case Evicted():
                statistics.evicted += 1
                reason = "it was idle for longest, and there were too many connections"
                reports.closed("evicted", peer, client, reason)
            case Disconnected():
                statistics.open_connections -= 1
            case _:
                self._meter_event(event)

    def _meter_event(self, event: object) -> None:
        if isinstance(event, SampleDropped):
            self.clients.dropped(event.meter, event.dropped)
        self.reports.meter_event(event)

    def _refused(self, event: _Refusal, origin: Origin, asked: Attempt) -> None:
        """Count and report a request that got an exception.

        A read that failed changes nothing, so it has a line only if its client addresses the wrong unit, or
        has no right to it.
        """
        if isinstance(event, UnitUnknown):
            meter = None
            self.shared.unknown_units += 1
        else:
            meter = event.meter
        if asked.writes or isinstance(event, AccessRefused):
            self.statistics.refused += 1
        else:
            self.statistics.exceptions += 1
            if meter is not None:
                return
        code, reason = self._why(event)
        peer = origin.writer if asked.writes else origin.reader
        if asked.writes:
            now = self._now()
            peer.totals.refused += 1
            peer.totals.last_refused = now
            if meter is not None:
                self.meters[meter].refused += 1
            self.clients.refused(origin.address, peer.name, meter, (code, asked, reason), now)
        self.reports.refused(peer.name, origin.address, meter, asked, code, reason)

    def _why(self, event: _Refusal) -> tuple[int, str]:
        """Return the exception code of a request, and the reason for it."""
        match event:
            case UnitUnknown():
                code, reason = ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND, "no meter has this unit"
            case AccessRefused():
                may = "only read" if event.read_only else "not do that"
                code, reason = ExceptionCode.ILLEGAL_FUNCTION, f"it may {may}"
            case ValueRefused(_, measurement, value):
                shown = f"{measurement.name}={measurement.format(value)}"
                code, reason = ExceptionCode.ILLEGAL_DATA_VALUE, f"{shown} is out of range"
            case OverBudget():
                reason = f"it sends more than max_samples_per_second ({self._rate:g})"
                code = ExceptionCode.SERVER_DEVICE_BUSY
            case SecondWriter(_, writer):
                code, reason = ExceptionCode.SERVER_DEVICE_BUSY, f'{writer} writes it, and writers is "one"'
            case ExceptionReturned(name, returned):
                code = ExceptionCode(returned)
                meter = self.meters[name]
                reason = _REASONS[code].format(first=meter.start, last=meter.end - 1)
        return code, reason
