"""One client's connection: its socket, its state and its times.

What a request gets is decided by the session that the connection was given.
"""

from __future__ import annotations

import socket
import struct
from typing import Protocol

from smart_meter.modbus.connection_state import ConnectionState, Held, Sending
from smart_meter.net.event_loop import GONE, NO_MORE, WRITABLE, EventLoop
from smart_meter.net.timeouts import Limits, exceeded

SEGMENT = 479
"""Bytes of one client that are answered in one go, 59 requests at the most; then others have their turn.

The largest that Python's allocator of small objects serves, which is quicker than the system's.
"""
CLOSE_SECONDS = 0.4
"""Time for a client to close on its side, once it was informed that no more replies come."""
_RESET = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: close at once, with a reset


class Session(Protocol):
    """One client's requests; none of the methods may block or raise."""

    zone: str
    """The group whose number of connections counts when one has to be evicted."""

    def cached_reply(self, segment: bytes) -> bytes | None:
        """Return the reply to a segment that is exactly one request whose reply is cached; else None."""

    def cached_replies(self, segment: bytes) -> bytes | None:
        """Return the replies to a segment that is one cached request several times; else None."""

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

    def timed_out(self, reason: str) -> None:
        """Count and log a timeout; the connection is being closed."""

    def evicted(self) -> None:
        """Count and log an eviction: the connection is being closed in favour of a new one."""

    def closed(self) -> None:
        """Count the end of the connection."""


class Owner(Protocol):
    """The server that a connection belongs to."""

    loop: EventLoop
    holding: list[Connection]
    """Connections with held replies."""

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is closed."""


class Connection:
    """One client's connection: its socket, its state and its times."""

    __slots__ = (
        "_at_end",
        "_connected_at",
        "_frame_began",
        "_loop",
        "_owner",
        "_receive",
        "_shut_at",
        "_socket",
        "_state",
        "_transmit",
        "client",
        "last",
        "session",
        "zone",
    )

    def __init__(self, owner: Owner, connected: socket.socket, client: str, session: Session) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._socket = connected
        self._receive = connected.recv
        self._transmit = connected.send
        self.client = client
        self.session = session
        # It stays what it was when the client connected, whatever a new configuration makes of the session.
        self.zone = session.zone
        self._state = ConnectionState(session.cached_reply, session.cached_replies, session.respond)
        self._at_end = False
        """Whether the client sends no more; what it has sent may still be unread."""
        self._shut_at: float | None = None
        """When the client was informed that no more replies come, in monotonic seconds; None: not yet."""
        self._frame_began = 0.0
        """When the request whose rest is missing began to arrive."""
        self._connected_at = self.last = self._loop.now
        """`last`: when the client last sent or took something."""

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
            self._loop.call_again(self.ready)

    def _received_in_part(self) -> None:
        """Handle everything but the common case: one whole request whose reply was sent in full."""
        state = self._state
        if self._shut_at is not None or state.sending is Sending.CLOSING:
            return
        if state.frame_began:
            self._frame_began = self._loop.now
        if state.sending is Sending.HELD:
            self._owner.holding.append(self)
        self._shut_if_closing()

    def _unblocked(self, events: int) -> bool:
        """Send what could not be sent before; return whether requests may be read again."""
        state = self._state
        if events & GONE:
            self._close()
        elif state.sending is Sending.BLOCKED and events & WRITABLE:
            self.last = self._loop.now
            self._send(state.unblocked())
            if not state.stalled:
                self._shut_if_closing()
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
        self._shut_if_closing()
        self._loop.call_again(self.ready)
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

    def _shut_if_closing(self) -> None:
        """End the replies if all are sent and none is to follow."""
        state = self._state
        state.flushed()
        if state.sending is Sending.CLOSING and self._shut_at is None:
            if state.error is not None:
                self.session.bad_frame(state.error)
            self._end_replies()

    def finish(self, *, at_once: bool) -> None:
        """End the replies: after the requests that have arrived, the last perhaps in part, or at once.

        A client that has come and has not asked yet is given the time for its first request.
        """
        if not at_once:
            self._state.finish(asked=self.last != self._connected_at)
            self._shut_if_closing()
        elif self._shut_at is None:
            self._state.close()
            self._end_replies()

    def _end_replies(self) -> None:
        # Closing with unread bytes would send a reset, which can take replies away that are still under way.
        # So the client is informed of the end first, and closes on its side; one that does not is swept up.
        self._shut_at = self._loop.now
        self.session.closed()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close()

    def overdue(self, now: float, limits: Limits) -> str | None:
        """Return which timeout the client exceeded, or None. Empty: it only has to be closed."""
        if self._shut_at is not None:
            return "" if now - self._shut_at > CLOSE_SECONDS else None
        state = self._state
        return exceeded(
            limits, state.receiving, state.sending, quiet=now - self.last, mid_frame=now - self._frame_began
        )

    def abort(self) -> None:
        """Close without a further byte."""
        if self._socket.fileno() >= 0:
            reset_on_close(self._socket)
        self._close()

    def _close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._state.close()
        if self._shut_at is None:
            self._shut_at = self._loop.now
            self.session.closed()
        self._owner.discard(self)


def reset_on_close(connected: socket.socket) -> None:
    """Let the close of a socket send a reset."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
