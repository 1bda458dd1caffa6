"""TCP connections: segments in, replies out, limits, and a stop that leaves nobody without an answer.

What a request gets is decided by the session that `admit` gives to each client.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

from smart_meter.modbus.connection import ConnectionState, Held, Receiving, Sending
from smart_meter.net.event_loop import EDGES, GONE, NO_MORE, READABLE, WRITABLE, EventLoop, Timer

BACKLOG = 4096
"""Connections that wait to be accepted; the kernel caps it at net.core.somaxconn."""
SEGMENT = 479
"""Bytes of one client that are answered in one go, 59 requests at the most; then others have their turn.

The largest that Python's allocator of small objects serves, which is quicker than the system's.
"""
_ACCEPTED_AT_ONCE = 16
_FULL_SECONDS = 1.0
_SWEEP_SECONDS = 1.0
_SOCKET_OPTIONS = (
    # A reply is one small segment that nothing follows: it must not wait for an acknowledgement.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A client that lost its power is noticed after 60 + 6 x 10 s, not the system's two hours.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
)
_RESET = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: close at once, with a reset
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SETTLE_SECONDS = 0.02
_MID_FRAME_SECONDS = 0.4
_CLOSE_SECONDS = 0.4


class Session(Protocol):
    """One client's requests; none of the methods may block or raise."""

    zone: str
    """Whom the connection counts for where there are too many."""

    def cached_reply(self, segment: bytes) -> bytes | None:
        """Return the reply to a segment that is exactly one request whose reply is cached; else None."""

    def respond(self, request: bytes) -> bytes | Held:
        """Return the reply ADU to a request ADU for which there is no cached reply."""

    def commit_status(self, ticket: int) -> bool | None:
        """True: the held reply may be sent; False: its sample could not be stored; None: undecided."""

    def store_failed(self) -> None:
        """Count a held reply that became an exception: its sample could not be stored."""

    def readmit(self) -> bool:
        """Take what a new configuration gives the client; return whether it is still let in."""

    def bad_frame(self, reason: str) -> None:
        """Count and log a stream that is not Modbus; its connection is being closed."""

    def expired(self, reason: str) -> None:
        """Count and log a time-out; the connection is being closed."""

    def gave_way(self) -> None:
        """Count and log an eviction: the connection is being closed in favour of a new one."""

    def closed(self) -> None:
        """Count the end of the connection."""


Admit = Callable[[str, str], Session | None]
"""Maps a client's address and the local address that it reached to a session; None refuses the connection."""


class Limits(NamedTuple):
    """What clients may cost; times in seconds."""

    connections: int = 1000
    connections_per_client: int = 100
    idle: float = 300
    """0: without end."""
    frame: float = 10


class Connection:
    """One client's connection: its socket, its state and its times."""

    __slots__ = (
        "_at_end",
        "_began",
        "_loop",
        "_receive",
        "_server",
        "_shut",
        "_since",
        "_socket",
        "_state",
        "_transmit",
        "client",
        "last",
        "session",
        "zone",
    )

    def __init__(self, server: Server, connected: socket.socket, client: str, session: Session) -> None:
        self._server = server
        self._loop = server.loop
        self._socket = connected
        self._receive = connected.recv
        self._transmit = connected.send
        self.client = client
        self.session = session
        # It stays what it was when the client connected, whatever a new configuration makes of the session.
        self.zone = session.zone
        self._state = ConnectionState(session.cached_reply, session.respond)
        self._at_end = False
        """Whether the client sends no more; what it has sent may still be unread."""
        self._shut = False
        """Whether the client was informed that no more replies come."""
        self._began = 0.0
        """When the request whose rest is missing began to arrive, or when the end was announced."""
        self._since = self.last = server.loop.now
        """When it last sent or took something, in monotonic seconds."""

    def ready(self, events: int) -> None:
        """Answer what has arrived; send what could not be sent before. This is the hot path."""
        state = self._state
        if state.stalled and not self._unblocked(events):
            return
        try:
            data = self._receive(SEGMENT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # All replies are with the kernel already: nothing is read while any are not.
            self._close()
            return
        reply = state.at_once(data)
        if reply is None:
            reply = state.receive(data)
        if reply:
            try:
                sent = self._transmit(reply)
            except OSError as error:
                sent = self._not_sent(error)
            if sent < len(reply):
                state.blocked(reply[sent:])
        self.last = self._loop.now
        if not state.quick:
            self._received_in_part()
        if events & NO_MORE:
            self._at_end = True
        if len(data) == SEGMENT or self._at_end:
            # There is more, if only the end.
            self._loop.again(self.ready)

    def _received_in_part(self) -> None:
        """Handle everything but the common case: one whole request whose reply was sent in full."""
        state = self._state
        if self._shut or state.sending is Sending.CLOSING:
            return
        if state.frame_began:
            self._began = self._loop.now
        if state.sending is Sending.HELD:
            self._server.holding.append(self)
        self._settle()

    def _unblocked(self, events: int) -> bool:
        """Send what could not be sent before; return whether requests may be read again."""
        state = self._state
        if events & GONE:
            self._close()
        elif state.sending is Sending.BLOCKED and events & WRITABLE:
            self.last = self._loop.now
            self._send(state.unblocked())
            if not state.stalled:
                self._settle()
                return self._socket.fileno() >= 0
        return False

    def release(self) -> bool:
        """Send the held replies; return whether it is still unknown if the last sample is committed."""
        session = self.session
        tickets = self._state.tickets
        if not tickets:
            return False
        if session.commit_status(tickets[-1]) is None:
            return True
        lost = [ticket for ticket in tickets if not session.commit_status(ticket)]
        for _ in lost:
            session.store_failed()
        self._send(self._state.release(tickets[-1], lost))
        self._settle()
        self._loop.again(self.ready)
        return False

    def _send(self, data: bytes) -> None:
        try:
            sent = self._transmit(data)
        except OSError as error:
            sent = self._not_sent(error)
        if sent < len(data):
            self._state.blocked(data[sent:])

    def _not_sent(self, error: OSError) -> int:
        if not isinstance(error, BlockingIOError):
            self._close()
        return 0

    def _settle(self) -> None:
        """Announce the end if the state has come to it."""
        state = self._state
        state.flushed()
        if state.sending is Sending.CLOSING and not self._shut:
            if state.error is not None:
                self.session.bad_frame(state.error)
            self._end_replies()

    def finish(self, *, at_once: bool) -> None:
        """End the replies: after the requests that have arrived, the last perhaps in part, or at once.

        A client that has come and has not asked yet is given the time for its first request.
        """
        if not at_once:
            self._state.finish(asked=self.last != self._since)
            self._settle()
        elif not self._shut:
            self._state.close()
            self._end_replies()

    def _end_replies(self) -> None:
        # Closing with unread bytes would send a reset, which can take replies away that are still under way.
        # So the client is informed of the end first, and closes on its side; one that does not is swept up.
        self._shut = True
        self._began = self._loop.now
        self.session.closed()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close()

    def overdue(self, now: float, limits: Limits) -> str | None:
        """Return which timeout the client exceeded, or None. Empty: it is only to be closed."""
        quiet = now - self.last
        sending = self._state.sending
        if self._shut:
            return "" if now - self._began > _CLOSE_SECONDS else None
        if self._state.receiving is Receiving.MID_FRAME and now - self._began > limits.frame:
            return f"the rest of a request did not come within {limits.frame:g} s"
        if sending is Sending.BLOCKED and quiet > limits.frame:
            return f"it did not take its replies within {limits.frame:g} s"
        if limits.idle and quiet > limits.idle and sending is not Sending.HELD:
            return f"it was idle for {limits.idle:g} s"
        return None

    def abort(self) -> None:
        """Close without a further byte."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._state.close()
        if not self._shut:
            self._shut = True
            self.session.closed()
        self._server.discard(self)


class Server:
    """Accepts connections on a listening socket."""

    def __init__(
        self, loop: EventLoop, admit: Admit, limits: Limits, notice: Callable[[str], None] | None = None
    ) -> None:
        """`notice` is called with what keeps new clients out."""
        self.loop = loop
        self.limits = limits
        self.holding: list[Connection] = []
        """Connections with replies that wait."""
        self._admit = admit
        self._notice = notice
        self._socket: socket.socket | None = None
        self._shared = False
        self._zones: dict[str, set[Connection]] = {}
        self._clients: dict[str, set[Connection]] = {}
        self._quantity = 0
        self._stopped: Callable[[], None] | None = None
        self._sweep: Timer | None = None

    def start(self, listening: socket.socket, *, shared: bool = False) -> None:
        """Accept connections on a socket that listens; it belongs to the server from here on.

        `shared`: somebody else keeps it open, too, and clients that were not accepted are the next server's.
        """
        self._shared = shared
        listening.setblocking(False)
        for level, option, value in _SOCKET_OPTIONS:
            # Linux gives them to every connection that is accepted here: tcp(7), socket(7).
            listening.setsockopt(level, option, value)
        self._socket = listening
        self.loop.watch(listening.fileno(), READABLE, self._accept)
        self._sweep = self.loop.every(_SWEEP_SECONDS, self.sweep)

    @property
    def connections(self) -> list[Connection]:
        """Return all open connections."""
        return [connection for zone in self._zones.values() for connection in zone]

    def release(self) -> None:
        """Send the held replies whose samples are committed."""
        holding, self.holding = self.holding, []
        self.holding += [connection for connection in holding if connection.release()]

    def sweep(self) -> None:
        """Close every connection that has exceeded a time-out."""
        now = self.loop.now
        for connection in self.connections:
            reason = connection.overdue(now, self.limits)
            if reason is not None:
                if reason:
                    connection.session.expired(reason)
                connection.abort()

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._quantity -= 1
        self._zones[connection.zone].discard(connection)
        of_client = self._clients[connection.client]
        of_client.discard(connection)
        if not of_client:
            del self._clients[connection.client]
        if self._stopped is not None and not self._quantity:
            self._end()

    def stop(self, stopped: Callable[[], None]) -> None:
        """Answer what has arrived, close, then call `stopped`; takes some 0.9 s at the very most."""
        if self._shared:
            self._close_door()
        # One look at all sockets: requests and connections that arrived before this call are taken in.
        self.loop.after(_SETTLE_SECONDS, lambda: self._finish(stopped))

    def _close_door(self) -> None:
        if self._socket is not None:
            self.loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _accept(self, _: int) -> None:
        assert self._socket is not None  # noqa: S101 - for the type checker: it is watched
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connected, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._pause(error)
                    return
                # The client is gone before it was taken in.
                continue
            try:
                local = connected.getsockname()
                session = self._admit(peer[0], local[0])
            except OSError:
                session = None
            if session is None:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connected.close()
                continue
            self.take_in(connected, peer[0], session)

    def take_in(self, connected: socket.socket, client: str, session: Session) -> None:
        """Serve a client that was let in; somebody gives way where there are too many."""
        connected.setblocking(False)
        of_client = self._clients.get(client)
        if of_client is not None and len(of_client) >= self.limits.connections_per_client:
            self._make_way(of_client)
        elif self._quantity >= self.limits.connections:
            # Whoever has the most gives way, so that a crowd in one zone never drives out another's few.
            self._make_way(max(self._zones.values(), key=len))
        connection = Connection(self, connected, client, session)
        self._quantity += 1
        self._zones.setdefault(session.zone, set()).add(connection)
        self._clients.setdefault(client, set()).add(connection)
        self.loop.watch(connected.fileno(), EDGES, connection.ready)

    @staticmethod
    def _make_way(connections: set[Connection]) -> None:
        longest_idle = min(connections, key=_last)
        longest_idle.session.gave_way()
        longest_idle.abort()

    def _pause(self, error: OSError) -> None:
        """Leave new clients waiting for a while: no descriptor is left for them."""
        assert self._socket is not None  # noqa: S101 - for the type checker: it was accepted from
        listening = self._socket
        self.loop.forget(listening.fileno())
        if self._notice is not None:
            self._notice(f"new clients have to wait: {error.strerror}")

        def go_on() -> None:
            if self._socket is listening:
                self.loop.watch(listening.fileno(), READABLE, self._accept)

        self.loop.after(_FULL_SECONDS, go_on)

    def _finish(self, stopped: Callable[[], None]) -> None:
        self._close_door()
        if self._sweep is not None:
            self._sweep.cancel()
        self._stopped = stopped
        if not self._quantity:
            self._end()
            return
        for connection in self.connections:
            connection.finish(at_once=False)
        self.loop.after(_MID_FRAME_SECONDS, self._finish_at_once)

    def _finish_at_once(self) -> None:
        for connection in self.connections:
            connection.finish(at_once=True)
        self.loop.after(_CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        for connection in self.connections:
            connection.abort()

    def _end(self) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped()


def _last(connection: Connection) -> float:
    return connection.last
