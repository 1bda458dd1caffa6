"""Accepts TCP connections, limits their number, and stops without leaving a request unanswered."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from smart_meter.net.connection import CLOSE_SECONDS, Connection, Session, reset_on_close
from smart_meter.net.event_loop import EDGES, READABLE, EventLoop, Timer
from smart_meter.net.timeouts import Limits

BACKLOG = 4096
"""Connections that wait to be accepted; the kernel caps it at net.core.somaxconn."""
_ACCEPTED_AT_ONCE = 16
_PAUSE_SECONDS = 1.0
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
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LAST_ARRIVALS_SECONDS = 0.02
_MID_FRAME_SECONDS = 0.4


Admit = Callable[[str, str], Session | None]
"""Maps a client's address and the local address that it reached to a session; None refuses the connection."""


class Server:
    """Accepts connections on a listening socket."""

    def __init__(
        self, loop: EventLoop, admit: Admit, limits: Limits, notice: Callable[[str], None] | None = None
    ) -> None:
        """`notice` is called with what keeps new clients out."""
        self.loop = loop
        self.limits = limits
        self.holding: list[Connection] = []
        """Connections with held replies."""
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

        shared: another process keeps it open, too, and accepts the clients that this server did not.
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
                    connection.session.timed_out(reason)
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
        """Answer what has arrived, close, then call `stopped`; takes 0.9 s at most."""
        if self._shared:
            self._stop_listening()
        # One more pass over all sockets: requests and clients that arrived before this call are still served.
        self.loop.after(_LAST_ARRIVALS_SECONDS, lambda: self._finish(stopped))

    def _stop_listening(self) -> None:
        if self._socket is not None:
            self.loop.unwatch(self._socket.fileno())
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
                if error.errno in _OUT_OF_RESOURCES:
                    self._pause(error)
                    return
                # The client was gone before it was accepted.
                continue
            try:
                local = connected.getsockname()
                session = self._admit(peer[0], local[0])
            except OSError:
                session = None
            if session is None:
                reset_on_close(connected)
                connected.close()
                continue
            self.add(connected, peer[0], session)

    def add(self, connected: socket.socket, client: str, session: Session) -> None:
        """Serve a client that was admitted; evict another connection if there are too many."""
        connected.setblocking(False)
        of_client = self._clients.get(client)
        if of_client is not None and len(of_client) >= self.limits.connections_per_client:
            self._evict_from(of_client)
        elif self._quantity >= self.limits.connections:
            self._evict_from(self._most_crowded(client))
        connection = Connection(self, connected, client, session)
        self._quantity += 1
        self._zones.setdefault(session.zone, set()).add(connection)
        self._clients.setdefault(client, set()).add(connection)
        self.loop.watch(connected.fileno(), EDGES, connection.ready)

    def _most_crowded(self, client: str) -> set[Connection]:
        """Return the connections that one has to be evicted from, in favour of a new one of `client`.

        They are those of the address with the most, so that a few addresses with many connections never drive
        out a neighbour with one. If every address has only one, they are those of the zone with the most.
        """
        most = max(self._clients.values(), key=len)
        own = self._clients.get(client)
        if own is not None and len(own) == len(most):
            # No address loses its only connection to another's second, nor gains at the cost of its equals.
            return own
        return most if len(most) > 1 else max(self._zones.values(), key=len)

    @staticmethod
    def _evict_from(connections: set[Connection]) -> None:
        longest_idle = min(connections, key=_last)
        longest_idle.session.evicted()
        longest_idle.abort()

    def _pause(self, error: OSError) -> None:
        """Accept no clients for a while: no descriptor is left for them."""
        assert self._socket is not None  # noqa: S101 - for the type checker: it was accepted from
        listening = self._socket
        self.loop.unwatch(listening.fileno())
        if self._notice is not None:
            self._notice(f"new clients have to wait: {error.strerror}")

        def resume() -> None:
            if self._socket is listening:
                self.loop.watch(listening.fileno(), READABLE, self._accept)

        self.loop.after(_PAUSE_SECONDS, resume)

    def _finish(self, stopped: Callable[[], None]) -> None:
        self._stop_listening()
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
        self.loop.after(CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        for connection in self.connections:
            connection.abort()

    def _end(self) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped()


def _last(connection: Connection) -> float:
    return connection.last
