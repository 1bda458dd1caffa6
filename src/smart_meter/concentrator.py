"""Meters, zones and totals in one place: what a client's request does. No sockets, no clock of its own."""

from __future__ import annotations

from collections.abc import Callable

from smart_meter.access import AccessControl, Client
from smart_meter.config import Config
from smart_meter.meter import Meter
from smart_meter.modbus.adu import FUNCTION, UNIT
from smart_meter.modbus.functions import FUNCTIONS, ExceptionCode, exception
from smart_meter.rate_limit import RateLimit
from smart_meter.statistics import Statistics
from smart_meter.telemetry import Lines, lines

# Either addresses the device itself where nothing lies behind it:
# Messaging on TCP/IP Implementation Guide V1.0b, 4.4.2.1 (unit identifier).
_DEVICE_ITSELF = (0, 255)
_TELL_SECONDS = 10.0


class Concentrator:
    """The meters, and who may do what with them."""

    def __init__(
        self,
        config: Config,
        tell: Callable[[str], None],
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        *,
        trial: bool = False,
    ) -> None:
        """`tell` takes the journal's lines and may neither block nor raise; the clocks give seconds."""
        self.meters = [Meter(meter, config.name) for meter in config.meters]
        self.units = {meter.unit_id: meter for meter in self.meters}
        if len(self.meters) == 1:
            self.units.update(dict.fromkeys(_DEVICE_ITSELF, self.meters[0]))
        self.lines: Lines = lines(config, wall)
        self.statistics = Statistics()
        self.tell = tell
        self.monotonic = monotonic
        self.wall = wall
        self.limit = RateLimit(_TELL_SECONDS)
        self._access = AccessControl(config.zones, trial=trial)

    def admit(self, address: str) -> Session | None:
        """Return a session for a client, or None for one in no zone."""
        client = self._access.client(address)
        if client is None:
            self.statistics.strangers += 1
            left_out = self.limit.allow("stranger", self.monotonic())
            if left_out is not None:
                self.tell(self.lines.stranger(address, left_out))
            return None
        self.statistics.connections += 1
        self.statistics.open_connections += 1
        return Session(self, client, address)

    def age(self) -> float | None:
        """Return the age of the youngest sample in seconds; None before the first."""
        now = self.monotonic()
        return min((age for meter in self.meters if (age := meter.age(now)) is not None), default=None)


class Session:
    """One client's connection."""

    __slots__ = ("_address", "_client", "_concentrator", "_reader", "_units", "_writer")

    def __init__(self, concentrator: Concentrator, client: Client, address: str) -> None:
        self._concentrator = concentrator
        self._client = client
        self._address = address
        self._units = concentrator.units
        self._reader = concentrator.statistics.peer(client.reader)
        self._writer = concentrator.statistics.peer(client.writer) if client.writer else None

    def respond(self, request: bytes) -> bytes:
        """Return the reply ADU to a request ADU."""
        statistics = self._concentrator.statistics
        meter = self._units.get(request[UNIT])
        if meter is None:
            statistics.exceptions += 1
            return exception(request, ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND)
        function = FUNCTIONS.get(request[FUNCTION])
        if function is None:
            statistics.exceptions += 1
            return exception(request, ExceptionCode.ILLEGAL_FUNCTION)
        writes = function.writes
        if writes is not None and not self._client.may_write:
            self._refused(meter, request)
            return exception(request, ExceptionCode.ILLEGAL_FUNCTION)
        reply = function.execute(meter.bank, request)
        if reply[FUNCTION] != request[FUNCTION]:
            statistics.exceptions += 1
            return reply
        if writes is not None:
            self._written(meter, *writes(request))
        if function.reads is not None:
            self._served(meter, *function.reads(request))
        return reply

    def bad_frame(self, reason: str) -> None:
        """Take note that the client's stream can't be followed; its connection is being closed."""
        concentrator = self._concentrator
        concentrator.statistics.bad_frames += 1
        peer = self._client.reader
        left_out = concentrator.limit.allow(("bad frame", peer), concentrator.monotonic())
        if left_out is not None:
            concentrator.tell(concentrator.lines.bad_frame(peer, self._address, reason, left_out))

    def closed(self) -> None:
        """Take note that the connection is gone."""
        self._concentrator.statistics.open_connections -= 1

    def _served(self, meter: Meter, address: int, quantity: int) -> None:
        concentrator = self._concentrator
        self._reader.served += 1
        concentrator.tell(
            concentrator.lines.served(meter.name, self._client.reader, address, quantity, self._reader.served)
        )

    def _written(self, meter: Meter, address: int, quantity: int) -> None:
        concentrator = self._concentrator
        sample = meter.written(address, quantity, concentrator.monotonic(), concentrator.wall())
        if sample is not None and self._client.writer is not None and self._writer is not None:
            self._writer.received += 1
            concentrator.tell(concentrator.lines.received(sample, self._client.writer, self._writer.received))

    def _refused(self, meter: Meter, request: bytes) -> None:
        concentrator = self._concentrator
        concentrator.statistics.refused += 1
        peer = self._client.reader
        left_out = concentrator.limit.allow(("refused", peer), concentrator.monotonic())
        if left_out is not None:
            line = concentrator.lines.refused(peer, self._address, meter.name, request[FUNCTION], left_out)
            concentrator.tell(line)
