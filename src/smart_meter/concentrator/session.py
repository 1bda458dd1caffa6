"""What a client's requests do. No sockets, no clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from smart_meter.concentrator.dispatcher import Dispatcher, Origin, Peer
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
from smart_meter.concentrator.probe import announces
from smart_meter.concentrator.reply_cache import KEY, READ_SIZE, ReplyCache
from smart_meter.concentrator.sink import client_number
from smart_meter.meters.meter import Meter
from smart_meter.meters.roles import Role
from smart_meter.meters.source import Source
from smart_meter.modbus.adu import FUNCTION, UNIT
from smart_meter.modbus.connection_state import Held
from smart_meter.modbus.functions import FUNCTIONS, ExceptionCode, Function, FunctionCode, exception

# Plain integers: an enumeration's member costs a look-up each time.
_DIAGNOSTICS = int(FunctionCode.DIAGNOSTICS)
_READ_INPUT_REGISTERS = int(FunctionCode.READ_INPUT_REGISTERS)
SAMPLE_HEAD = slice(UNIT, 13)
"""The part of a write that comes before the values, from the unit identifier on."""


class ServedMeter(NamedTuple):
    """What a role may do with one meter."""

    meter: Meter
    functions: Mapping[int, Function]
    """By function code; those that the role may use."""


class SampleWrite(NamedTuple):
    """A request that writes a whole sample to a meter, as nearly all writes do."""

    meter: Meter
    size: int
    """Bytes of the request."""
    reply: bytes
    """The reply after the protocol identifier."""


class ServedRole(NamedTuple):
    """A role with all that its requests need, resolved once; shared by the sessions of its clients."""

    role: Role
    units: Mapping[int, ServedMeter]
    """By unit identifier."""
    sample_writes: Mapping[bytes, SampleWrite]
    """By the request's `SAMPLE_HEAD`; those that the role may make."""
    reader: Peer
    writer: Peer
    cache: ReplyCache


class Session:
    """One client's connection."""

    __slots__ = (
        "_cache",
        "_dispatch",
        "_dispatcher",
        "_find",
        "_find_role",
        "_now",
        "_origin",
        "_probes",
        "_sample_writes",
        "_served",
        "_source",
        "_tx",
        "_units",
        "zone",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        now: Callable[[], float],
        role: ServedRole,
        address: str,
        find_role: Callable[[], ServedRole | None],
    ) -> None:
        """`find_role` returns the client's role in the present configuration. now: monotonic seconds."""
        self._dispatcher = dispatcher
        self._dispatch = dispatcher.dispatch
        self._now = now
        self._find_role = find_role
        self.zone = role.role.zone
        self._probes = False
        """Whether the client has announced itself as a probe: it counts nowhere and writes nothing."""
        self._source = Source(address)
        self._use(role)

    def _use(self, role: ServedRole) -> None:
        self._source.peer = role.writer.name
        address = self._source.address
        self._units = role.units
        self._origin = Origin(address, role.reader, role.writer, client_number(address))
        # A probe's stay empty, so that each of its requests is looked at as a probe's.
        self._cache = ReplyCache() if self._probes else role.cache
        self._sample_writes: Mapping[bytes, SampleWrite] = {} if self._probes else role.sample_writes
        self._find = self._cache.find
        self._served = role.reader.totals
        self._tx = role.reader.tx

    def cached_reply(self, segment: bytes) -> bytes | None:
        """Return the reply to a segment that is exactly one read that is cached; else None.

        This is the hot path: it is `ReplyCache.cached_replies` for one read, without the call, and counts.
        While the log still takes a line for each read, every read is carried out.
        """
        if self._tx.tokens >= 1.0:
            return None
        cached = self._find(segment[KEY])
        if cached is None or (cached.version != cached.meter.version and not cached.refresh()):
            return None
        self._served.served += 1
        return segment[:5] + cached.body

    def cached_replies(self, segment: bytes) -> bytes | None:
        """Return the replies to a segment that is one cached read several times; else None."""
        if self._tx.tokens >= 1.0:
            return None
        replies = self._cache.cached_replies(segment)
        if replies is not None:
            self._served.served += len(segment) // READ_SIZE
        return replies

    def respond(self, request: bytes) -> bytes | Held:
        """Return the reply ADU to a request ADU for which there is no cached reply."""
        write = self._sample_writes.get(request[SAMPLE_HEAD])
        if write is not None and len(request) == write.size and not self._dispatcher.durable:
            # Only the values are left to be checked. A sample that is acknowledged after its commit takes the
            # other way, where its budget is checked: it waits for the disk anyway.
            code, events = write.meter.store(request[13:], self._now(), self._source)
            ticket = self._dispatch(events, self._origin, request)
            reply = exception(request, code) if code else request[:4] + write.reply
            return Held(ticket, reply, request) if ticket else reply
        access = self._units.get(request[UNIT])
        if self._probes or (request[FUNCTION] == _DIAGNOSTICS and announces(request)):
            return self._answer_probe(access, request)
        return self._carry_out(access, request)

    def _carry_out(self, access: ServedMeter | None, request: bytes) -> bytes | Held:
        if access is None:
            self._happened(UnitUnknown(), request)
            return exception(request, ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND)
        meter = access.meter
        code = request[FUNCTION]
        function = access.functions.get(code)
        if function is None:
            self._happened(_refusal(access, code), request)
            return exception(request, ExceptionCode.ILLEGAL_FUNCTION)
        if self._dispatcher.durable and function.writes is not None:
            self._dispatcher.check_budget(meter, self._origin.client)
        reply, events = function.execute(meter, request, self._now(), self._source)
        ticket = self._dispatch(events, self._origin, request) if events else 0
        if reply[FUNCTION] != code:
            if not events:
                self._happened(ExceptionReturned(meter.name, reply[FUNCTION + 1]), request)
            return reply
        if function.reads is not None:
            self._cache.add(meter, request, reply)
            self._served.served += 1
            if self._tx.tokens >= 1.0:
                inputs = code == _READ_INPUT_REGISTERS
                self._happened(ReadServed(meter.name, *function.reads(request), inputs))
        return Held(ticket, reply, request) if ticket else reply

    def _answer_probe(self, access: ServedMeter | None, request: bytes) -> bytes:
        """Answer by the client's role, count nothing, carry out no write: one that it may make gets 03."""
        if not self._probes:
            self._become_probe(access, request[UNIT])
        if access is None:
            return exception(request, ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND)
        function = access.functions.get(request[FUNCTION])
        if function is None:
            return exception(request, ExceptionCode.ILLEGAL_FUNCTION)
        if function.writes is not None:
            return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE)
        reply, _ = function.execute(access.meter, request, self._now())
        return reply

    def _become_probe(self, access: ServedMeter | None, unit: int) -> None:
        self._probes = True
        self._sample_writes = {}
        self._cache = ReplyCache()
        self._find = self._cache.find
        name = None if access is None else access.meter.name
        self._happened(ProbeAnnounced(name, unit, () if access is None else tuple(access.functions)))

    def _happened(self, event: object, request: bytes = b"") -> None:
        self._dispatch((event,), self._origin, request)

    def commit_status(self, ticket: int) -> bool | None:
        """True: the held reply may be sent; False: its sample could not be stored; None: undecided."""
        return self._dispatcher.commit_status(ticket)

    def store_failed(self) -> None:
        """Count a held reply that became an exception: its sample could not be stored."""
        self._happened(StoreFailed())

    def readmit(self) -> bool:
        """Take the role of a new configuration; return whether there is one."""
        role = self._find_role()
        if role is None:
            return False
        self._use(role)
        return True

    def bad_frame(self, reason: str) -> None:
        """Report that the client's stream can't be followed; its connection is being closed."""
        self._happened(FrameInvalid(reason))

    def timed_out(self, reason: str) -> None:
        """Report that the connection is being closed because the client exceeded a timeout."""
        self._happened(TimedOut(reason))

    def evicted(self) -> None:
        """Report that the connection is being closed in favour of a new one."""
        self._happened(Evicted())

    def closed(self) -> None:
        """Report that the connection is gone."""
        self._dispatcher.disconnected(self._source)
        if not self._probes:
            self._happened(Disconnected())


def _refusal(access: ServedMeter, code: int) -> AccessRefused | ExceptionReturned:
    function = FUNCTIONS.get(code)
    if function is None:
        return ExceptionReturned(access.meter.name, ExceptionCode.ILLEGAL_FUNCTION)
    read_only = not any(allowed.writes for allowed in access.functions.values())
    return AccessRefused(access.meter.name, function.writes is not None, read_only)
