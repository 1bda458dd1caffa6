"""Meters, zones and totals in one place: what a client's request does. No sockets, no clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from smart_meter.concentrator.probe import announces
from smart_meter.concentrator.reply_cache import ReplyCache
from smart_meter.config import Config
from smart_meter.log.formatter import Direction, Lines, lines
from smart_meter.log.throttle import RateLimit
from smart_meter.log.token_bucket import Quota
from smart_meter.meters.access import AccessControl, Role
from smart_meter.meters.meter import Meter
from smart_meter.meters.statistics import PeerTotals, Statistics
from smart_meter.modbus.adu import FUNCTION, UNIT
from smart_meter.modbus.functions import FUNCTIONS, ExceptionCode, Function, FunctionCode, exception
from smart_meter.registers.status_block import State

# Either addresses the device itself where nothing lies behind it:
# Messaging on TCP/IP Implementation Guide V1.0b, 4.4, "Unit Identifier".
_DEVICE_ITSELF = (0, 255)
# Plain integers: an enumeration's member costs a look-up each time.
_DIAGNOSTICS = int(FunctionCode.DIAGNOSTICS)
_READ_INPUT_REGISTERS = int(FunctionCode.READ_INPUT_REGISTERS)
_SAMPLE_HEAD = slice(FUNCTION, 13)
_TELL_SECONDS = 10.0
_LOOK_TICKETS = 256
"""Samples between two looks at the recorder's backlog; a power of two."""
BUSY_BACKLOG = 1_000
"""Samples that wait, from which on the recorder gets its turn after each pass of the loop."""
FULL_BACKLOG = 50_000
"""Samples that wait, from which on a write is acknowledged late: half of what the history keeps in memory."""


class Recorder(Protocol):
    """Keeps samples; none of the methods blocks or raises."""

    def record(self, meter: str, now: float, registers: bytes, measured: int | None, flags: int) -> int:
        """Keep a sample; return its ticket, which counts up from 1. now: monotonic seconds."""

    def stored_up_to(self, ticket: int) -> bool | None:
        """Whether the sample is on disk; None: it is not known yet."""

    @property
    def backlog(self) -> int:
        """How many samples wait to be written, while they can be written; 0 while they can't."""


class Peer:
    """A peer's totals, and how many more lines of it the journal takes now."""

    __slots__ = ("name", "rx", "totals", "tx")

    def __init__(self, name: str, totals: PeerTotals, rate: float, now: float) -> None:
        self.name = name
        self.totals = totals
        self.rx = Quota(rate, now, totals.received)
        self.tx = Quota(rate, now, totals.served)


class MeterAccess(NamedTuple):
    """What a role may do with one meter."""

    meter: Meter
    functions: Mapping[int, Function]
    """By function code; those that the role may use."""
    sample_head: bytes
    """What stands between unit identifier and values in a write of a whole sample; empty: not allowed."""
    sample_size: int
    """Bytes of such a request."""


class ServedRole(NamedTuple):
    """A role with all that its requests need, resolved once; shared by the sessions of its clients."""

    role: Role
    units: Mapping[int, MeterAccess]
    """By unit identifier."""
    reader: Peer
    writer: Peer
    cache: ReplyCache


class Concentrator:
    """The meters, and who may do what with them."""

    def __init__(
        self,
        config: Config,
        tell: Callable[[str], None],
        now: Callable[[], float],
        wall: Callable[[], float],
        *,
        trial: bool = False,
    ) -> None:
        """`tell` takes the journal's lines and may neither block nor raise; the clocks give seconds."""
        self.statistics = Statistics()
        self.tell = tell
        self.now = now
        self.wall = wall
        self.limit = RateLimit(_TELL_SECONDS)
        self.recorder: Recorder | None = None
        self.acknowledge_late = False
        """Whether a write that completes a sample is answered once the sample is on disk.

        The configuration may have it so; and so it is while more samples come in than the disk takes.
        """
        self.always_late = False
        """Whether the configuration has it so."""
        self.let_record: Callable[[bool], None] = lambda _: None
        """Is told whether the recorder needs its turn."""
        self._trial = trial
        self.meters = [Meter(meter, config.name) for meter in config.meters]
        self._adopt(config)

    def _adopt(self, config: Config) -> None:
        self.lines: Lines = lines(config, self.wall)
        self._access = AccessControl(config, trial=self._trial)
        self._rate = config.journal.lines_per_second
        self._peers: dict[str, Peer] = {}
        self._roles: dict[Role, ServedRole] = {}

    def reconfigure(self, config: Config) -> None:
        """Go on with another configuration; every session has to be asked to `readmit` itself afterwards."""
        self.tick(final=True)
        earlier = {meter.name: meter for meter in self.meters}
        self.meters = [Meter(meter, config.name) for meter in config.meters]
        now = self.now()
        for meter in self.meters:
            if meter.name in earlier:
                meter.take_over(earlier[meter.name], now)
        self._adopt(config)

    def admit(self, address: str, local: str | None = None) -> Session | None:
        """Return a session for a client, or None for one in no zone.

        local: the address of this machine that it reached; None: it is not looked at.
        """
        role = self.role(address, local)
        if role is None:
            self.statistics.strangers += 1
            left_out = self.limit.allow("stranger", self.now())
            if left_out is not None:
                self.tell(self.lines.stranger(address, left_out))
            return None
        self.statistics.connections += 1
        self.statistics.open_connections += 1
        return Session(self, role, address, local)

    def look_at_backlog(self) -> None:
        """Slow the writers down before the recorder loses samples; readers go on as ever."""
        backlog = self.recorder.backlog if self.recorder is not None else 0
        self.acknowledge_late = self.always_late or backlog >= FULL_BACKLOG
        self.let_record(backlog >= BUSY_BACKLOG)

    def role(self, address: str, local: str | None) -> ServedRole | None:
        """Return the role of a client, or None for one in no zone."""
        role = self._access.role(address, local)
        if role is None:
            return None
        served = self._roles.get(role)
        if served is None:
            units = self._units(role)
            reader, writer = self._peer(role.reader), self._peer(role.writer)
            self._roles[role] = served = ServedRole(role, units, reader, writer, ReplyCache())
        return served

    def next_check(self) -> float:
        """Return when to `check` next, in monotonic seconds: no later than any sample can be too old."""
        now = self.now()
        return min(min(meter.due, now + meter.patience) for meter in self.meters)

    def check(self) -> None:
        """Let the samples be too old that are."""
        now = self.now()
        for meter in self.meters:
            if meter.check(now):
                self.tell(self.lines.state(meter.name, State.STALE, meter.age(now)))

    def tick(self, *, final: bool = False) -> None:
        """Let the time that has passed count, for journal and totals: once a second, and at the end."""
        now = self.now()
        for totals in self.statistics.peers.values():
            totals.notice(now)
        for peer in self._peers.values():
            for direction, quota, total in (
                (Direction.RX, peer.rx, peer.totals.received),
                (Direction.TX, peer.tx, peer.totals.served),
            ):
                quota.refill(now)
                left_out = quota.sum_up(total, now, final=final)
                if left_out is not None:
                    self.tell(self.lines.summed_up(direction, peer.name, *left_out, total))

    def age(self) -> float | None:
        """Return the age of the youngest sample in seconds; None before the first."""
        now = self.now()
        return min((age for meter in self.meters if (age := meter.age(now)) is not None), default=None)

    def told_at_times(self, kind: str, peer: str, line: Callable[[int], str]) -> None:
        """Tell something of a peer, unless its kind was told a short while ago."""
        left_out = self.limit.allow((kind, peer), self.now())
        if left_out is not None:
            self.tell(line(left_out))

    def _units(self, role: Role) -> dict[int, MeterAccess]:
        units = {}
        for meter, permission in zip(self.meters, role.permissions, strict=True):
            allowed = {code: FUNCTIONS[code] for code in FUNCTIONS if code in permission.functions}
            writes_samples = FunctionCode.WRITE_MULTIPLE_REGISTERS in allowed
            head = meter.sample_head if writes_samples else b""
            units[meter.unit_id] = MeterAccess(meter, allowed, head, 13 + len(meter.data))
        if len(self.meters) == 1:
            units.update(dict.fromkeys(_DEVICE_ITSELF, units[self.meters[0].unit_id]))
        return units

    def _peer(self, name: str) -> Peer:
        if name not in self._peers:
            self._peers[name] = Peer(name, self.statistics.peer(name), self._rate, self.now())
        return self._peers[name]


class Session:
    """One client's connection."""

    __slots__ = (
        "_address",
        "_cache",
        "_cached",
        "_concentrator",
        "_local",
        "_probes",
        "_reader",
        "_received",
        "_role",
        "_rx",
        "_served",
        "_tx",
        "_units",
        "urgent",
        "waiting",
        "zone",
    )

    def __init__(self, concentrator: Concentrator, role: ServedRole, address: str, local: str | None) -> None:
        self._concentrator = concentrator
        self._address = address
        self._local = local
        self.waiting: list[tuple[bytes, int]] = []
        self.zone = role.role.zone
        self.urgent = role.role.urgent
        self._probes = False
        """Whether the client has announced itself as a probe: it counts nowhere and writes nothing."""
        self._use(role)

    def _use(self, role: ServedRole) -> None:
        self._role = role
        self._units = role.units
        # A probe's stays empty, so that each of its requests is carried out.
        self._cache = ReplyCache() if self._probes else role.cache
        self._cached = self._cache.cached_reply
        self._reader = role.reader
        self._served = role.reader.totals
        self._tx = role.reader.tx
        self._received = role.writer.totals
        self._rx = role.writer.rx

    def cached_reply(self, segment: bytes) -> bytes | None:
        """Return the reply to a segment that is exactly one read that is cached; else None.

        This is the hot path. While the log still takes a line for each read, every read is carried out.
        """
        if self._tx.left >= 1.0:
            return None
        reply = self._cached(segment)
        if reply is not None:
            self._served.served += 1
        return reply

    def respond(self, request: bytes) -> bytes:
        """Return the reply ADU to a request ADU for which there is no cached reply."""
        access = self._units.get(request[UNIT])
        if (
            access is not None
            and len(request) == access.sample_size
            and request[_SAMPLE_HEAD] == access.sample_head
            and not self._probes
        ):
            # Nearly every write is one of a whole sample: only the values are left to be checked.
            if access.meter.store(request[13:], self._concentrator.now()):
                self._stored(access.meter, request)
                return request[:4] + b"\0\6" + request[6:12]
            self._out_of_range(access.meter, request)
            return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE)
        if self._probes or (request[FUNCTION] == _DIAGNOSTICS and announces(request)):
            return self._answer_probe(request)
        return self._carry_out(access, request)

    def _carry_out(self, access: MeterAccess | None, request: bytes) -> bytes:
        if access is None:
            return self._exception(request, ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND)
        meter = access.meter
        code = request[FUNCTION]
        function = access.functions.get(code)
        if function is None:
            if code in FUNCTIONS:
                self._refused(meter, request)
                return exception(request, ExceptionCode.ILLEGAL_FUNCTION)
            return self._exception(request, ExceptionCode.ILLEGAL_FUNCTION)
        meter.now = self._concentrator.now()
        if code == _READ_INPUT_REGISTERS:
            meter.refresh()
        reply = function.execute(meter, request)
        if reply[FUNCTION] != code:
            if meter.out_of_range is not None:
                self._out_of_range(meter, request)
                return reply
            self._concentrator.statistics.exceptions += 1
            return reply
        if meter.completed:
            meter.completed = False
            self._stored(meter, request)
        if function.reads is not None:
            self._cache.add(meter, request, reply)
            self._served.served += 1
            if self._tx.left >= 1.0:
                self._tell_served(meter, request)
        return reply

    def _answer_probe(self, request: bytes) -> bytes:
        """Answer by the client's rights, count nothing, carry out no write: one that it may make gets 03."""
        if not self._probes:
            self._become_probe(request[UNIT])
        access = self._units.get(request[UNIT])
        if access is None:
            return exception(request, ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND)
        code = request[FUNCTION]
        function = access.functions.get(code)
        if function is None:
            return exception(request, ExceptionCode.ILLEGAL_FUNCTION)
        if function.writes is not None:
            return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE)
        if code == _READ_INPUT_REGISTERS:
            access.meter.now = self._concentrator.now()
            access.meter.refresh()
        return function.execute(access.meter, request)

    def _become_probe(self, unit: int) -> None:
        self._probes = True
        self._cache = ReplyCache()
        self._cached = self._cache.cached_reply
        concentrator = self._concentrator
        concentrator.statistics.connections -= 1
        concentrator.statistics.open_connections -= 1
        access = self._units.get(unit)
        name = None if access is None else access.meter.name
        functions = () if access is None else tuple(access.functions)
        peer = self._reader.name
        concentrator.told_at_times(
            # The meters are few, and all units that are none of them count as one.
            "probe" if name is None else f"probe of {name}",
            peer,
            lambda left_out: concentrator.lines.probe(
                peer, self._address, name, unit=unit, functions=functions, left_out=left_out
            ),
        )

    def _stored(self, meter: Meter, request: bytes) -> None:
        """Let everybody know who wants to know of a sample."""
        concentrator = self._concentrator
        self._received.received += 1
        recorder = concentrator.recorder
        if recorder is not None:
            ticket = recorder.record(
                meter.name, meter.arrived, bytes(meter.data), meter.measured(), meter.flags
            )
            if concentrator.acknowledge_late:
                self.waiting.append((request, ticket))
            if not ticket & (_LOOK_TICKETS - 1):
                concentrator.look_at_backlog()
        if self._rx.left >= 1.0:
            self._rx.left -= 1.0
            self._rx.told += 1
            sample = meter.last_sample(concentrator.wall())
            writer = self._role.writer
            concentrator.tell(concentrator.lines.received(sample, writer.name, writer.totals.received))
        if meter.recovered:
            meter.recovered = False
            concentrator.tell(concentrator.lines.state(meter.name, State.FRESH, 0.0))

    def outcome(self, ticket: int) -> bool | None:
        """Whether the reply to a write may go: its sample is on disk; None: it is not known yet.

        Where writers only wait for the disk to keep up, the reply goes as soon as it does, or has failed.
        """
        concentrator = self._concentrator
        recorder = concentrator.recorder
        if concentrator.always_late:
            return recorder.stored_up_to(ticket) if recorder is not None else False
        if not concentrator.acknowledge_late or recorder is None:
            return True
        return None if recorder.stored_up_to(ticket) is None else True

    def failed(self, request: bytes) -> bytes:
        """Return the reply to a write whose sample is in the registers, and could not be stored."""
        return self._exception(request, ExceptionCode.SERVER_DEVICE_FAILURE)

    def readmit(self) -> bool:
        """Take the rights of a new configuration; return whether there are any."""
        role = self._concentrator.role(self._address, self._local)
        if role is None:
            return False
        self._use(role)
        return True

    def bad_frame(self, reason: str) -> None:
        """Take note that the client's stream can't be followed; its connection is being closed."""
        concentrator = self._concentrator
        concentrator.statistics.bad_frames += 1
        peer = self._reader.name
        concentrator.told_at_times(
            "bad frame",
            peer,
            lambda left_out: concentrator.lines.bad_frame(peer, self._address, reason, left_out),
        )

    def expired(self, reason: str) -> None:
        """Take note that the connection is being closed for what the client did not do in time."""
        self._concentrator.statistics.expired += 1
        self._tell_closed("expired", reason)

    def gave_way(self) -> None:
        """Take note that the connection is being closed in favour of a new one."""
        self._concentrator.statistics.gave_way += 1
        self._tell_closed("gave way", "it was idle for longest, and there were too many connections")

    def closed(self) -> None:
        """Take note that the connection is gone."""
        if not self._probes:
            self._concentrator.statistics.open_connections -= 1

    def _tell_closed(self, kind: str, reason: str) -> None:
        concentrator = self._concentrator
        peer = self._reader.name
        concentrator.told_at_times(
            kind, peer, lambda left_out: concentrator.lines.closed(peer, self._address, reason, left_out)
        )

    def _tell_served(self, meter: Meter, request: bytes) -> None:
        reader = self._reader
        reader.tx.left -= 1.0
        reader.tx.told += 1
        function = FUNCTIONS[request[FUNCTION]]
        assert function.reads is not None  # noqa: S101 - for the type checker: it was served
        address, quantity = function.reads(request)
        concentrator = self._concentrator
        line = concentrator.lines.served(
            meter.name,
            reader.name,
            address,
            quantity,
            reader.totals.served,
            inputs=request[FUNCTION] == _READ_INPUT_REGISTERS,
        )
        concentrator.tell(line)

    def _exception(self, request: bytes, code: int) -> bytes:
        self._concentrator.statistics.exceptions += 1
        return exception(request, code)

    def _refused(self, meter: Meter, request: bytes) -> None:
        code = request[FUNCTION]
        if FUNCTIONS[code].writes is not None:
            meter.refused += 1
        writes = any(FUNCTIONS[each].writes for each in self._units[request[UNIT]].functions)
        what = "may not do that" if writes else "may only read"
        self._tell_refused(meter, request, f"{what}: function {code} got exception 01")

    def _out_of_range(self, meter: Meter, request: bytes) -> None:
        assert meter.out_of_range is not None  # noqa: S101 - for the type checker: the caller has looked
        measurement, value = meter.out_of_range
        meter.out_of_range = None
        meter.refused += 1
        self._tell_refused(
            meter,
            request,
            f"wrote {measurement.name}={measurement.format(value)}, which is out of range: "
            f"function {request[FUNCTION]} got exception 03",
        )

    def _tell_refused(self, meter: Meter, request: bytes, reason: str) -> None:
        concentrator = self._concentrator
        concentrator.statistics.refused += 1
        peer = self._reader.name
        concentrator.told_at_times(
            "refused",
            peer,
            lambda left_out: concentrator.lines.refused(
                peer, self._address, meter.name, request[FUNCTION], reason=reason, left_out=left_out
            ),
        )
