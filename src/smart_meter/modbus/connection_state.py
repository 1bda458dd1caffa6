"""One connection as a state machine: bytes in, replies and "close" out. No I/O, no time.

Receiving and sending have a state each; `_move` is the only place that changes them. The owner of the socket
calls `at_once` and then `receive` with what has arrived, sends what it returns, and reports with `blocked`,
`unblocked` and `flushed` how that went; once `sending` is CLOSING, the connection is to be closed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from typing import NamedTuple

from smart_meter.modbus.adu import FUNCTION, AduReader
from smart_meter.modbus.functions import ExceptionCode, exception


class Receiving(enum.Enum):
    """What has arrived last."""

    OPEN = "open"
    """The end of a request, or nothing yet."""
    MID_FRAME = "mid-frame"
    """A part of a request."""
    ENDED = "ended"
    """Something that is not Modbus: the stream can't be followed any more."""


class Sending(enum.Enum):
    """What happens to replies."""

    FLOWING = "flowing"
    """Replies are sent at once."""
    BLOCKED = "blocked"
    """The client does not read its replies: the unsent rest is kept, and no request is read."""
    HELD = "held"
    """Replies wait until their samples are committed, and no request is read."""
    CLOSING = "closing"
    """No reply is sent any more; what still arrives is discarded."""


# A member of an enumeration costs a look-up each time, and this is the hot path.
_OPEN, _MID_FRAME, _ENDED = Receiving
_FLOWING, _BLOCKED, _HELD, _CLOSING = Sending
_TO_RECEIVING = {
    Receiving.OPEN: frozenset(Receiving),
    Receiving.MID_FRAME: frozenset(Receiving),
    Receiving.ENDED: frozenset({Receiving.ENDED}),
}
_TO_SENDING = {
    Sending.FLOWING: frozenset(Sending),
    Sending.BLOCKED: frozenset({Sending.FLOWING, Sending.CLOSING}),
    Sending.HELD: frozenset({Sending.FLOWING, Sending.CLOSING}),
    Sending.CLOSING: frozenset({Sending.CLOSING}),
}


class Held(NamedTuple):
    """A reply that may not be sent before its sample is committed."""

    ticket: int
    """Counts up from 1."""
    reply: bytes
    request: bytes


class TransitionError(Exception):
    """The connection was used in a way that its state does not allow."""


class ConnectionState:
    """What a connection has received and still has to send.

    A client may have any number of requests under way. No request is read while its replies are not taken:
    what it can make the server keep is one segment and the replies to it.
    """

    __slots__ = (
        "_asked",
        "_cached_replies",
        "_cached_reply",
        "_finishing",
        "_held",
        "_reader",
        "_respond",
        "_unsent",
        "at_once",
        "frame_began",
        "quick",
        "receiving",
        "sending",
        "stalled",
    )

    def __init__(
        self,
        cached_reply: Callable[[bytes], bytes | None],
        cached_replies: Callable[[bytes], bytes | None],
        respond: Callable[[bytes], bytes | Held],
    ) -> None:
        """`cached_reply` is asked first, once a request; `respond` gets what it has no reply to.

        `cached_replies` is asked for a segment that may be one request several times.
        """
        self._cached_reply = cached_reply
        self._cached_replies = cached_replies
        self._respond = respond
        self._reader = AduReader()
        self._held: list[bytes | Held] = []
        self._unsent = b""
        self._finishing = False
        self._asked = False
        self.frame_began = False
        """Whether the request of which a part has arrived began with the bytes that arrived last."""
        self.receiving = _OPEN
        self.sending = _FLOWING
        self.quick = True
        """Whether nothing is left over, neither requests nor replies, and no end is near."""
        self.at_once = cached_reply
        """Ask it first: it returns the reply to one whole request that is cached, else None.

        This is the hot path: while `quick` it is the look-up itself, so that not even a call comes between.
        """
        self.stalled = False
        """Whether no request may be read now: replies are blocked or held."""

    @property
    def error(self) -> str | None:
        """Return why the stream can't be followed; None as long as it can."""
        return self._reader.error

    @property
    def tickets(self) -> list[int]:
        """Return the tickets of the held replies, in their order."""
        return [reply.ticket for reply in self._held if isinstance(reply, Held)]

    def receive(self, data: bytes) -> bytes:
        """Return the replies to what has arrived, which are to be sent now.

        `at_once` had no reply to it. Raises TransitionError while `stalled`.
        """
        if self.quick:
            # Nearly always, one whole request arrives and nothing is left over.
            size = len(data)
            if size > FUNCTION and data[5] + 6 == size and data[2:5] == b"\0\0\0":
                answer = self._respond(data)
                return self._hold(_OPEN, [answer]) if isinstance(answer, Held) else answer
            replies = self._cached_replies(data)
            if replies is not None:
                return replies
        return self._receive(data)

    def blocked(self, rest: bytes) -> None:
        """Keep the rest of what was to be sent: the client does not take it."""
        if self.sending is not _CLOSING:
            self._unsent = rest
            self._move(self.receiving, _BLOCKED)

    def unblocked(self) -> bytes:
        """Return what is to be sent now that the client takes it again.

        Raises TransitionError if nothing is blocked.
        """
        if self.sending is not _BLOCKED:
            raise TransitionError(f"nothing is blocked: sending is {self.sending.value}")
        rest, self._unsent = self._unsent, b""
        self._move(self.receiving, _FLOWING)
        return rest

    def flushed(self) -> None:
        """Close if all replies are sent and none is to follow."""
        if self.sending is _FLOWING and (
            self.receiving is _ENDED or (self._finishing and self._asked and self.receiving is _OPEN)
        ):
            self._move(self.receiving, _CLOSING)

    def release(self, up_to: int, lost: Collection[int] = ()) -> bytes:
        """Return the held replies if the last one's ticket is at most `up_to`; else nothing.

        lost: tickets whose samples could not be committed; their replies become exceptions.
        """
        tickets = self.tickets
        if not tickets or tickets[-1] > up_to:
            return b""
        held, self._held = self._held, []
        self._move(self.receiving, _FLOWING)
        return b"".join(
            reply
            if isinstance(reply, bytes)
            else exception(reply.request, ExceptionCode.SERVER_DEVICE_FAILURE)
            if reply.ticket in lost
            else reply.reply
            for reply in held
        )

    def finish(self, *, asked: bool) -> None:
        """Close after the request that has begun to arrive. asked: whether the client has sent anything.

        A client that has not asked yet is given the time for its first request.
        """
        self._finishing = True
        self._asked = self._asked or asked
        self._move(self.receiving, self.sending)
        self.flushed()

    def close(self) -> None:
        """Close now, whatever is left over."""
        self._held = []
        self._unsent = b""
        self._move(self.receiving, _CLOSING)

    def _receive(self, data: bytes) -> bytes:
        if self.sending is _CLOSING:
            return b""
        if self.stalled:
            raise TransitionError(f"no request may be read: sending is {self.sending.value}")
        self._asked = True
        reader = self._reader
        requests = reader.feed(data)
        self.frame_began = bool(requests) or self.receiving is _OPEN
        receiving = _MID_FRAME if reader.rest else _OPEN if reader.error is None else _ENDED
        cached_reply = self._cached_reply
        respond = self._respond
        replies = [cached_reply(request) or respond(request) for request in requests]
        try:
            # Nearly always none is held.
            joined = b"".join(replies)  # type: ignore[arg-type]  # a held one raises TypeError
        except TypeError:
            return self._hold(receiving, replies)
        if receiving is not self.receiving:
            self._move(receiving, _FLOWING)
        return joined

    def _hold(self, receiving: Receiving, replies: list[bytes | Held]) -> bytes:
        """Hold replies, in their order, until the last of them may be sent."""
        self._held = replies
        self._move(receiving, _HELD)
        return b""

    def _move(self, receiving: Receiving, sending: Sending) -> None:
        if receiving is not self.receiving and receiving not in _TO_RECEIVING[self.receiving]:
            raise TransitionError(f"receiving can't go from {self.receiving.value} to {receiving.value}")
        if sending is not self.sending and sending not in _TO_SENDING[self.sending]:
            raise TransitionError(f"sending can't go from {self.sending.value} to {sending.value}")
        self.receiving = receiving
        self.sending = sending
        self.quick = receiving is _OPEN and sending is _FLOWING and not self._finishing
        self.at_once = self._cached_reply if self.quick else _not_at_once
        self.stalled = sending is _BLOCKED or sending is _HELD


def _not_at_once(_: bytes) -> None:
    return None
