"""Meters, roles and totals in one place. No sockets, no clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smart_meter.concentrator.dispatcher import Dispatcher, Peer
from smart_meter.concentrator.health import Health, judge, quiet_limit
from smart_meter.concentrator.reply_cache import ReplyCache
from smart_meter.concentrator.session import SampleWrite, ServedMeter, ServedRole, Session
from smart_meter.concentrator.sink import SampleSink
from smart_meter.config import Complete, Config
from smart_meter.log.audit.kinds import EventSink
from smart_meter.log.formatter import LogFormatter
from smart_meter.log.make_formatter import make_formatter
from smart_meter.meters.meter import Meter
from smart_meter.meters.roles import Role, Roles
from smart_meter.modbus.functions import FUNCTIONS, FunctionCode

# Either addresses the device itself, unless it is a gateway to others:
# Messaging on TCP/IP Implementation Guide V1.0b, 4.4, "Unit Identifier".
_DEVICE_ITSELF = (0, 255)


class Concentrator:
    """The meters, and who may do what with them."""

    def __init__(
        self,
        config: Config,
        write_line: Callable[[str], None],
        now: Callable[[], float],
        wall: Callable[[], float],
        *,
        trial: bool = False,
        yield_to_sink: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`write_line` takes the log's lines and may neither block nor raise; the clocks give seconds.

        `yield_to_sink` is called with whether the sink's thread needs more time.
        """
        self._dispatcher = Dispatcher(write_line, now, wall, yield_to_sink)
        self.statistics = self._dispatcher.statistics
        self.shared = self._dispatcher.shared
        """What every meter's status block shows of the concentrator; the history's generation is set here."""
        self.now = now
        self._wall = wall
        self._trial = trial
        self.meters = self._meters(config)
        self._apply(config)

    def _meters(self, config: Config) -> list[Meter]:
        return [Meter(meter, config.name, self._dispatcher.shared) for meter in config.meters]

    def _apply(self, config: Config) -> None:
        meters = {meter.name: meter for meter in self.meters}
        history = config.history
        budget = history.max_samples_per_second if history.path else 0
        self._dispatcher.reconfigure(make_formatter(config, self._wall), meters, budget)
        self._any = [meters[m.name] for m in config.meters if m.complete is Complete.ANY]
        self._network_roles = Roles(config, trial=self._trial)
        self._rate = config.journal.lines_per_second
        self._zones = config.zones
        self._quiet_limit = quiet_limit(config)
        self._peers: dict[str, Peer] = {}
        self._roles: dict[Role, ServedRole] = {}

    @property
    def formatter(self) -> LogFormatter:
        """Return the log's format."""
        return self._dispatcher.formatter

    def reconfigure(self, config: Config) -> None:
        """Apply another configuration; every session has to be asked to `readmit` itself afterwards."""
        self.tick(final=True)
        earlier = {meter.name: meter for meter in self.meters}
        self.meters = self._meters(config)
        now = self.now()
        happened = [
            meter.take_over(earlier[meter.name], now) for meter in self.meters if meter.name in earlier
        ]
        self._apply(config)
        for events in happened:
            self._dispatcher.happened(events)

    def use_sink(self, sink: SampleSink | None, *, durable: bool) -> None:
        """Record samples in a sink. durable: whether each is acknowledged after its commit."""
        self._dispatcher.use_sink(sink, durable=durable)

    def use_events(self, sink: EventSink | None) -> None:
        """Note what happens in the audit trail; None: there is none."""
        self._dispatcher.use_events(sink)

    def clients(self) -> list[dict[str, object]]:
        """Return the last clients that wrote, for the state file: the last one first."""
        return self._dispatcher.clients.record(self.meters)

    def expect_writer(self, meter: str, client: int) -> None:
        """Give a client a budget of its own for a meter, if one is left: it wrote it before the start."""
        self._dispatcher.expect_writer(meter, client)

    def review_backlog(self) -> None:
        """Slow the writers down before the sink loses samples; readers are not affected."""
        self._dispatcher.review_backlog()

    def admit(self, address: str, local: str | None = None) -> Session | None:
        """Return a session for a client, or None for one in no zone.

        local: the address of this machine that it reached; None: it is not looked at.
        """
        role = self.role(address, local)
        if role is None:
            self._dispatcher.unknown_client(address)
            return None
        self.statistics.connections += 1
        self.statistics.open_connections += 1
        return Session(self._dispatcher, self.now, role, address, lambda: self.role(address, local))

    def role(self, address: str, local: str | None) -> ServedRole | None:
        """Return the role of a client, or None for one in no zone."""
        role = self._network_roles.role(address, local)
        if role is None:
            return None
        served = self._roles.get(role)
        if served is None:
            units = self._units(role)
            reader, writer = self._peer(role.reader), self._peer(role.writer)
            writes = self._sample_writes(units)
            self._roles[role] = served = ServedRole(role, units, writes, reader, writer, ReplyCache())
        return served

    def next_check(self) -> float:
        """Return when to `check` next, in monotonic seconds: before any sample can become overdue."""
        now = self.now()
        return min(min(meter.due, now + meter.stale_after) for meter in self.meters)

    def check(self) -> None:
        """Mark overdue samples as stale, and drop the incomplete ones that nobody goes on with."""
        now = self.now()
        for meter in self.meters:
            self._dispatcher.happened(meter.check(now))

    def tick(self, *, final: bool = False) -> None:
        """Update meters, log and totals for the time that has passed: once a second, and at the end."""
        if not final:
            # Between two changes of freshness: a sample may become incomplete at any time.
            self.check()
        for meter in self._any:
            self._dispatcher.review_parts(meter)
        self._dispatcher.flush_summaries(self._peers.values(), final=final)

    def age(self) -> float | None:
        """Return the age of the youngest sample in seconds; None before the first."""
        now = self.now()
        return min((age for meter in self.meters if (age := meter.age(now)) is not None), default=None)

    def health(self) -> Health:
        """Return what the Pi's activity LED shows."""
        return judge(self.meters, self._zones, self.statistics.peers, self.now(), self._quiet_limit)

    def _units(self, role: Role) -> dict[int, ServedMeter]:
        units = {}
        for meter, permission in zip(self.meters, role.permissions, strict=True):
            allowed = {code: FUNCTIONS[code] for code in FUNCTIONS if code in permission.functions}
            units[meter.unit_id] = ServedMeter(meter, allowed)
        if len(self.meters) == 1:
            units.update(dict.fromkeys(_DEVICE_ITSELF, units[self.meters[0].unit_id]))
        return units

    @staticmethod
    def _sample_writes(units: Mapping[int, ServedMeter]) -> dict[bytes, SampleWrite]:
        writes = {}
        for unit, access in units.items():
            meter = access.meter
            if meter.sample_head and FunctionCode.WRITE_MULTIPLE_REGISTERS in access.functions:
                head = bytes((unit,)) + meter.sample_head
                writes[head] = SampleWrite(meter, 13 + len(meter.sample), b"\0\6" + head[:-1])
        return writes

    def _peer(self, name: str) -> Peer:
        if name not in self._peers:
            self._peers[name] = Peer(name, self.statistics.peer(name), self._rate, self.now())
        return self._peers[name]
