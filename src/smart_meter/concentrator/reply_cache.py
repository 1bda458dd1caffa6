"""Replies to reads that come again and again, kept ready until a register changes. No side effects."""

from __future__ import annotations

from smart_meter.meters.meter import Meter
from smart_meter.modbus.functions import FunctionCode

MAX_REPLIES = 64
"""Different reads that are kept; a PLC sends a handful."""
_KEY = slice(2, None)
"""What decides the reply to a read: everything after the transaction identifier.

Protocol identifier and length are part of it, so a segment that matches is exactly one whole request.
"""


class CachedReply:
    """The reply to one read of holding registers."""

    __slots__ = ("body", "head", "meter", "registers", "version")

    def __init__(self, meter: Meter, head: bytes, registers: slice) -> None:
        self.meter = meter
        self.head = head
        """The reply's bytes between its first five and the registers."""
        self.registers = registers
        """Which bytes of the meter's view are read."""
        self.body = b""
        """The reply after its first five bytes."""
        self.version = -1
        """The meter's version that `body` was made from."""


class ReplyCache:
    """Cached replies by request; holds at most `MAX_REPLIES`."""

    __slots__ = ("_replies",)

    def __init__(self) -> None:
        self._replies: dict[bytes, CachedReply] = {}

    def __len__(self) -> int:
        return len(self._replies)

    def cached_reply(self, segment: bytes) -> bytes | None:
        """Return the reply to a segment that is exactly one whole cached request; else None.

        This is the hot path. The registers are copied again only if one has changed since.
        """
        cached = self._replies.get(segment[_KEY])
        if cached is None:
            return None
        meter = cached.meter
        if cached.version != meter.version:
            if meter.failure:
                return None
            cached.body = cached.head + meter.view[cached.registers]
            cached.version = meter.version
        return segment[:5] + cached.body

    def add(self, meter: Meter, request: bytes, reply: bytes) -> None:
        """Cache the reply to a request if it is a read of holding registers that succeeded."""
        if request[7] != FunctionCode.READ_HOLDING_REGISTERS:
            return
        first = 2 * ((request[8] << 8 | request[9]) - meter.start)
        if len(self._replies) >= MAX_REPLIES:
            self.clear()
        registers = slice(first, first + len(reply) - 9)
        self._replies[request[_KEY]] = CachedReply(meter, reply[5:9], registers)

    def clear(self) -> None:
        """Forget every reply."""
        self._replies.clear()
