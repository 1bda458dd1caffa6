"""TCP connections: segments in, replies out, and a stop that leaves nobody without an answer.

What a request gets is decided by the session that `admit` gives to each client.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Protocol, cast

from smart_meter.modbus.adu import AduReader

BACKLOG = 1024
SLICE = 64
"""Requests of one client that are answered in one go; then others have their turn."""
_SOCKET_OPTIONS = (
    # A reply is one small segment that nothing follows: it must not wait for an acknowledgement.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A client that lost its power is noticed after 60 + 6 x 10 s, not the system's two hours.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
)
_SETTLE_SECONDS = 0.02
_MID_FRAME_SECONDS = 0.4
_CLOSE_SECONDS = 0.4


class Session(Protocol):
    """One client's requests; none of the methods may block or raise."""

    def respond(self, request: bytes) -> bytes:
        """Return the reply ADU to a request ADU."""

    def bad_frame(self, reason: str) -> None:
        """Take note that the client's stream can't be followed; its connection is being closed."""

    def closed(self) -> None:
        """Take note that the connection is gone."""


Later = Callable[[Callable[[], None]], object]
"""Calls a function in the loop's next pass."""
Admit = Callable[[str], Session | None]
"""Gives the session for a client's IP address, or None for a client that is to be closed at once."""


class Connection(asyncio.Protocol):
    """One client's connection.

    A client may have any number of requests under way. What it sends at once is answered slice by slice, and
    nothing more is read from it meanwhile, nor while it does not read its replies: what it can make the
    server keep is one segment and the transport's write buffer.
    """

    __slots__ = ("_deaf", "_finishing", "_reader", "_server", "_session", "_transport", "_waiting")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader = AduReader(SLICE)
        self._session: Session | None = None
        self._finishing = False
        self._waiting = False
        """Whether requests have arrived whose turn comes later."""
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client in, or close the connection."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        # A client that is gone already has no name left.
        session = self._server.admit(peer[0]) if peer else None
        if session is None:
            self._transport.abort()
            return
        connected = transport.get_extra_info("socket")
        for level, option, value in _SOCKET_OPTIONS:
            connected.setsockopt(level, option, value)
        self._session = session
        self._server.add(self)

    def data_received(self, data: bytes) -> None:
        """Answer every request that the segment completes, a slice with one write."""
        session = self._session
        if session is None:
            return
        reader = self._reader
        requests = reader.feed(data)
        if len(requests) == 1:
            self._transport.write(session.respond(requests[0]))
        elif requests:
            self._transport.write(b"".join([session.respond(request) for request in requests]))
        if reader.more:
            # A loop may hand over a segment that it had read already when it was told to read no more.
            if not self._waiting:
                self._waiting = True
                self._transport.pause_reading()
                self._server.later(self._go_on)
        elif reader.error is not None or self._finishing:
            self._settle(session)

    def pause_writing(self) -> None:
        """Take no more requests from a client that does not read its replies."""
        self._deaf = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with a client that reads again."""
        self._deaf = False
        if self._waiting:
            self._server.later(self._go_on)
        else:
            self._read_on()

    def _go_on(self) -> None:
        session = self._session
        if session is None or self._deaf or not self._waiting:
            return
        requests = self._reader.feed(b"")
        if requests:
            self._transport.write(b"".join([session.respond(request) for request in requests]))
        if self._reader.more:
            self._server.later(self._go_on)
            return
        self._waiting = False
        self._read_on()
        self._settle(session)

    def _read_on(self) -> None:
        if not self._deaf and not self._transport.is_closing():
            self._transport.resume_reading()

    def _settle(self, session: Session) -> None:
        """End the connection where all is answered that was to be answered."""
        if self._reader.error is not None:
            self._session = None
            session.bad_frame(self._reader.error)
            session.closed()
            self._transport.close()
        elif self._finishing and not self._reader.in_mid_frame:
            self._end_replies()

    def connection_lost(self, _: Exception | None) -> None:
        """Forget the connection."""
        self._server.discard(self)
        if self._session is not None:
            self._session.closed()
            self._session = None

    def finish(self, *, at_once: bool) -> None:
        """End the replies: after the requests that have arrived, the last perhaps in part, or at once."""
        self._finishing = True
        if at_once or not self._reader.in_mid_frame:
            self._end_replies()

    def abort(self) -> None:
        """Close without a further byte."""
        self._transport.abort()

    def _end_replies(self) -> None:
        # Closing with unread bytes would send a reset, which can take replies away that are still under way.
        # So the client is told the end first, and closes on its side.
        if self._session is not None and not self._transport.is_closing():
            self._session.closed()
            self._session = None
            self._transport.write_eof()


class Server:
    """Accepts connections on a bound socket."""

    def __init__(self, admit: Admit, later: Later | None = None) -> None:
        """`later` is the loop's own where none is given."""
        self.admit = admit
        self.later: Later = later or (lambda action: asyncio.get_running_loop().call_soon(action))
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._server: asyncio.Server | None = None

    async def start(self, bound: socket.socket) -> None:
        """Accept connections on a socket that is bound; the socket belongs to the server from here on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=bound, backlog=BACKLOG)

    def add(self, connection: Connection) -> None:
        """Take in a connection that was let in."""
        self._connections.add(connection)
        self._empty.clear()

    def discard(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def stop(self) -> None:
        """Answer what has arrived, then close; takes some 0.9 s at the very most."""
        # One look at all sockets: requests and connections that arrived before this call are taken in.
        await asyncio.sleep(_SETTLE_SECONDS)
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.finish(at_once=False)
        await self._wait_until_closed(_MID_FRAME_SECONDS)
        for connection in list(self._connections):
            connection.finish(at_once=True)
        await self._wait_until_closed(_CLOSE_SECONDS)
        for connection in list(self._connections):
            connection.abort()
        # The transports tell of their end in the loop's next passes.
        await asyncio.sleep(0)

    async def _wait_until_closed(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)
