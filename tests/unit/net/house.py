"""A server and its clients, with sockets that keep what is sent to them, and a loop that the test runs."""

import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.net.event_loop import GONE, NO_MORE, READABLE, EventLoop, Handler, Timer
from smart_meter.net.server import Server
from smart_meter.net.timeouts import Limits
from tests.unit.wire import wire

LIMITS = Limits(connections=1000, connections_per_client=100, idle=300, frame=10)
WRITTEN = wire("0001 0000 0006 01 10 0000 0008")


class Socket:
    """Stands in for a client's socket: `inbox` is what it has sent, `outbox` what it was sent."""

    numbers = iter(range(10, 1_000_000_000))

    def __init__(self) -> None:
        self.number = next(self.numbers)
        self.inbox = b""
        self.outbox: list[bytes] = []
        self.room = 1 << 30
        self.at_end = False
        self.broken = False
        self.reset = False
        self.ended = ""

    @property
    def end(self) -> str | None:
        return self.ended or None

    def fileno(self) -> int:
        return -1 if self.ended in ("closed", "aborted") else self.number

    def recv(self, size: int) -> bytes:
        if self.fileno() < 0 or self.broken:
            raise OSError(errno.ECONNRESET, "gone")
        data, self.inbox = self.inbox[:size], self.inbox[size:]
        if not data and not self.at_end:
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        if self.fileno() < 0:
            raise OSError(errno.EBADF, "closed")
        if self.broken or self.ended:
            raise OSError(errno.EPIPE, "gone")
        if self.room == 0 and data:
            raise BlockingIOError
        sent = data[: self.room]
        self.room -= len(sent)
        self.outbox.append(bytes(sent))
        return len(sent)

    def setblocking(self, _: bool) -> None:
        """It never blocks."""

    def setsockopt(self, _: int, option: int, __: bytes) -> None:
        self.reset = self.reset or option == socket.SO_LINGER

    def shutdown(self, _: int) -> None:
        self.ended = self.ended or "eof"

    def close(self) -> None:
        self.ended = "aborted" if self.reset else "closed"


class Loop:
    """Stands in for the event loop."""

    def __init__(self) -> None:
        self.now = 100.0
        self.turns: deque[Handler] = deque()
        self.timers: list[tuple[float, Timer]] = []

    def watch(self, *_: object) -> None:
        """Nothing becomes ready by itself."""

    def unwatch(self, *_: object) -> None:
        """As above."""

    def call_again(self, handler: Handler) -> None:
        self.turns.append(handler)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(action)
        self.timers.append((self.now + seconds, timer))
        return timer

    every = after

    def pass_time(self) -> None:
        """Let every timer come that was not cancelled, and those that they set, each at its time."""
        while self.timers:
            due, timer = min(self.timers, key=lambda entry: entry[0])
            self.timers.remove((due, timer))
            self.now = max(self.now, due)
            if timer.action is not None:
                timer.action()


class House:
    """A server, the concentrator behind it, and its clients."""

    def __init__(self, limits: Limits = LIMITS, config: Config = Config()) -> None:  # noqa: B008 - frozen
        self.journal: list[str] = []
        self.sink: Recorder
        self.loop = Loop()
        self.concentrator = Concentrator(config, self.journal.append, lambda: self.loop.now, lambda: 0.0)
        self.server = Server(cast(EventLoop, self.loop), self.concentrator.admit, limits)

    def client(self, peer: str, local: str = "") -> "Client":
        own = local or {"192.168.1": "192.168.1.100", "192.168.2": "192.168.2.100"}.get(peer[:9], peer)
        return Client(self, peer, own)

    def turn(self) -> None:
        """Let the loop turn once."""
        for _ in range(len(self.loop.turns)):
            self.loop.turns.popleft()(0)

    def go_on(self) -> None:
        """Let the loop turn until nothing is left to do."""
        while self.loop.turns:
            self.turn()


class Client:
    """A client's side of one connection."""

    def __init__(self, house: House, peer: str, local: str) -> None:
        self.house = house
        self.concentrator = house.concentrator
        self.socket = Socket()
        session = house.concentrator.admit(peer, local)
        assert session is not None
        before = set(house.server.connections)
        house.server.add(cast(socket.socket, self.socket), peer, session)
        [self.connection] = set(house.server.connections) - before

    def bring(self, data: bytes, events: int = READABLE) -> None:
        """Let data arrive, and the loop report it."""
        self.socket.inbox += data
        self.connection.ready(events)

    def send(self, *segments: bytes) -> bytes:
        """Return what comes back."""
        before = len(self.socket.outbox)
        for segment in segments:
            if self.socket.end is None:
                self.bring(segment)
                self.house.go_on()
        return b"".join(self.socket.outbox[before:])

    @property
    def received(self) -> bytes:
        return b"".join(self.socket.outbox)

    def leave(self) -> None:
        self.socket.at_end = True
        self.connection.ready(READABLE | NO_MORE & ~GONE)
        self.house.go_on()


class Recorder:
    """Stores a sample when the test wants it to."""

    backlog = 0

    def __init__(self) -> None:
        self.tickets = 0
        self.stored: int = 0
        self.given_up: set[int] = set()

    def record(self, *_: object) -> int:
        self.tickets += 1
        return self.tickets

    def stored_up_to(self, ticket: int) -> bool | None:
        if ticket in self.given_up:
            return False
        return True if ticket <= self.stored else None
