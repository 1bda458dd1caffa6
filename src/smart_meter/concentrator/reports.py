"""Reports what happened: lines in the log, limited for each address, and events for the audit trail."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from smart_meter.log.audit.kinds import EventSink, Kind
from smart_meter.log.formatter import LogFormatter, came, missing
from smart_meter.log.throttle import AddressThrottle, Suppressed
from smart_meter.meters.assembly import Dropped
from smart_meter.meters.events import (
    BecameFresh,
    BecameStale,
    BecameWaiting,
    SampleDropped,
    SlowWriter,
    StartAssumed,
    TwoWriters,
    WriterChanged,
)
from smart_meter.modbus.attempt import Attempt
from smart_meter.registers.status_block import State

_SECONDS_BETWEEN_LINES = 10.0
_MAX_THINNED = 256
"""Clients of which it is known how many samples were left out of the history."""


class _Thinned:
    """The samples of a client that were left out of the history."""

    __slots__ = ("noted", "total")

    def __init__(self) -> None:
        self.total = 0
        self.noted = 0
        """How many of them the audit trail knows."""


class Reports:
    """Writes lines and notes events. Each line about a client is limited for its address."""

    def __init__(self, write_line: Callable[[str], None], now: Callable[[], float]) -> None:
        self.formatter: LogFormatter
        self.events: EventSink | None = None
        """The audit trail; None: there is none."""
        self._write_line = write_line
        self._now = now
        self._throttle = AddressThrottle(_SECONDS_BETWEEN_LINES)
        self._thinned: OrderedDict[tuple[str, str], _Thinned] = OrderedDict()
        """By meter and address, the quietest first."""
        self._rate = 0.0

    # What clients do

    def refused(  # noqa: PLR0917 - who, where, what and why
        self, peer: str, client: str, meter: str | None, attempt: Attempt, exception: int, reason: str
    ) -> None:
        """Report a request that got an exception. meter: None if no meter has the unit identifier."""
        if self.events is not None:
            self._note(Kind.REFUSED, f"{attempt}: exception {exception:02X}", client, meter or "", reason)
        self._per_address(
            "unknown unit" if meter is None else "refused",
            client,
            lambda suppressed: self.formatter.refused(
                peer, client, meter, attempt, exception=exception, reason=reason, suppressed=suppressed
            ),
            meter or "",
        )

    def thinned(self, peer: str, client: str, meter: str, rate: float) -> None:
        """Report a sample that was left out of the history. rate: samples a second that a client may store.

        The audit trail gets it with the next `flush`: there may be thousands a second.
        """
        thinned = self._thinned.pop((meter, client), None) or _Thinned()
        self._thinned[meter, client] = thinned
        thinned.total += 1
        self._rate = rate
        if len(self._thinned) > _MAX_THINNED:
            key, oldest = self._thinned.popitem(last=False)
            self._note_thinned(*key, oldest)
        self._per_address(
            "thinned",
            client,
            lambda suppressed: self.formatter.thinned(peer, client, meter, rate, suppressed),
            meter,
        )

    def flush(self) -> None:
        """Note what was left out of the history since the last flush."""
        if self.events is not None:
            for (meter, client), thinned in self._thinned.items():
                self._note_thinned(meter, client, thinned)

    def _note_thinned(self, meter: str, client: str, thinned: _Thinned) -> None:
        if thinned.noted != thinned.total:
            thinned.noted = thinned.total
            self._note(
                Kind.THINNED,
                f"sends more than max_samples_per_second ({self._rate:g}), the rest is not in the history",
                client,
                meter,
                f"{thinned.total} samples since the start",
            )

    def probe(
        self, peer: str, client: str, meter: str | None, *, unit: int, functions: Sequence[int]
    ) -> None:
        """Report a client that has announced itself as a probe. meter: None if none has the unit."""
        self._per_address(
            "probe",
            client,
            lambda suppressed: self.formatter.probe(
                peer, client, meter, unit=unit, functions=functions, suppressed=suppressed
            ),
            meter or "",
        )

    def bad_frame(self, peer: str, client: str, reason: str) -> None:
        """Report a connection that was closed because its stream was not Modbus TCP."""
        self._per_address(
            "bad frame",
            client,
            lambda suppressed: self.formatter.bad_frame(peer, client, reason, suppressed),
        )

    def closed(self, kind: str, peer: str, client: str, reason: str) -> None:
        """Report a connection that was timed out or evicted, which is the kind."""
        self._per_address(
            kind, client, lambda suppressed: self.formatter.closed(peer, client, reason, suppressed)
        )

    def unknown_client(self, client: str) -> None:
        """Report a client in no zone."""
        self._per_address(
            "unknown client", client, lambda suppressed: self.formatter.unknown_client(client, suppressed)
        )

    # What happens to a meter

    def fresh(self, meter: str, client: str) -> None:
        """Report that a client's sample ended a time without samples."""
        self._note(Kind.FRESH, "samples come again", client, meter)
        self._write_line(self.formatter.state(meter, State.FRESH, 0.0))

    def shown(self, meter: str, writes: int) -> None:
        """Report that readers got values before the first sample was complete. writes: since the start."""
        text = "readers got values before every value came once"
        self._note(Kind.PARTIAL, text, "", meter, f"{writes} writes since the start")
        self._per_address("shown", "", lambda n: self.formatter.shown(meter, writes, n), meter)

    def meter_event(self, event: object) -> None:
        """Report an event of a meter. Raises TypeError if it is none."""
        formatter = self.formatter
        match event:
            case BecameFresh(meter):
                self.fresh(meter, "")
            case BecameStale(meter, age, incomplete):
                self._stale(meter, age, incomplete)
            case BecameWaiting(meter):
                self._write_line(formatter.state(meter, State.WAITING, None))
            case SampleDropped(meter, dropped):
                client = dropped.source.address
                seen = "readers saw the registers" if dropped.visible else ""
                self._note(Kind.PARTIAL, came(dropped), client, meter, seen)
                self._per_address(
                    "incomplete", client, lambda n: formatter.incomplete(meter, dropped, n), meter
                )
            case WriterChanged(meter, earlier, source):
                before = "" if earlier is None else f"before it {earlier}"
                self._note(Kind.WRITER, "writes it now", source.address, meter, before)
                self._per_address(
                    "writer", source.address, lambda n: formatter.writer(meter, earlier, source, n), meter
                )
            case TwoWriters(meter, first, second):
                self._note(Kind.TWO_WRITERS, f"writes it while {first} does", second.address, meter)
                self._per_address(
                    "two writers",
                    second.address,
                    lambda n: formatter.two_writers(meter, first, second, n),
                    meter,
                )
            case StartAssumed(meter, source, register):
                self._per_address(
                    "assumed",
                    source.address,
                    lambda n: formatter.assumed_start(meter, source, register, n),
                    meter,
                )
            case SlowWriter(meter, source, sample_gap):
                self._per_address(
                    "slow",
                    source.address,
                    lambda n: formatter.slow_writer(meter, source, sample_gap, n),
                    meter,
                )
            case _:
                raise TypeError(f"{event!r} is not an event of the concentrator")

    def _stale(self, meter: str, age: float | None, incomplete: Dropped | None) -> None:
        since = "no sample yet" if age is None else f"no sample for {age:.0f} s"
        detail = "" if incomplete is None else f"{incomplete.source} {missing(incomplete)}"
        self._note(Kind.STALE, since, "", meter, detail)
        self._write_line(self.formatter.state(meter, State.STALE, age, incomplete))

    def _per_address(
        self, kind: str, client: str, line: Callable[[Suppressed], str], meter: str = ""
    ) -> None:
        """Log a line about a client unless one of its kind was logged a short while ago."""
        suppressed = self._throttle.allow(kind, client, self._now(), meter)
        if suppressed is not None:
            self._write_line(line(suppressed))

    def _note(self, kind: Kind, text: str, client: str, meter: str, detail: str = "") -> None:
        if self.events is not None:
            self.events.note(kind, text, client=client, meter=meter, detail=detail)
