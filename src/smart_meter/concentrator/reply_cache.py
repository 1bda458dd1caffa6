"""Replies to reads that come again and again, kept ready until a register changes. No side effects."""

from __future__ import annotations

from collections.abc import Callable

from smart_meter.meters.meter import Meter
from smart_meter.modbus.functions import FunctionCode

MAX_REPLIES = 64
"""Different reads that are kept; a PLC sends a handful."""
READ_SIZE = 12
"""Bytes of a request that reads holding registers."""
KEY = slice(2, None)
"""The part of a request by which its reply is found. Everything after the transaction identifier.

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
        """The meter's version that `body` was made from; `refresh` before use if it is another by now."""

    def refresh(self) -> bool:
        """Copy the registers again; return False if they can't be read now."""
        meter = self.meter
        if meter.failure:
            return False
        self.body = self.head + meter.view[self.registers]
        self.version = meter.version
        return True


class ReplyCache:
    """Cached replies by request; holds at most `MAX_REPLIES`."""

    __slots__ = ("_replies", "find")

    def __init__(self) -> None:
        self._replies: dict[bytes, CachedReply] = {}
        self.find: Callable[[bytes], CachedReply | None] = self._replies.get
        """Find a cached reply by its request's `KEY`. The dictionary's own method: this is the hot path."""

    def __len__(self) -> int:
        return len(self._replies)

    def cached_replies(self, segment: bytes) -> bytes | None:
        """Return the replies to a segment that is one cached read, or the same one several times; else None.

        A client with several requests in flight nearly always repeats one: then nothing is done per request.
        """
        count, rest = divmod(len(segment), READ_SIZE)
        if rest or not count:
            return None
        key = segment[2:READ_SIZE]
        cached = self.find(key)
        if cached is None or (cached.version != cached.meter.version and not cached.refresh()):
            return None
        # What lies between the keys has to be transaction identifiers, of two bytes each.
        transactions = segment.split(key)
        if len(transactions) != count + 1 or transactions[-1] or max(map(len, transactions)) != 2:
            return None
        return (segment[2:5] + cached.body).join(transactions)

    def add(self, meter: Meter, request: bytes, reply: bytes) -> None:
        """Cache the reply to a request if it is a read of holding registers that succeeded."""
        if request[7] != FunctionCode.READ_HOLDING_REGISTERS:
            return
        first = 2 * ((request[8] << 8 | request[9]) - meter.start)
        if len(self._replies) >= MAX_REPLIES:
            self.clear()
        registers = slice(first, first + len(reply) - 9)
        self._replies[request[KEY]] = CachedReply(meter, reply[5:9], registers)

    def clear(self) -> None:
        """Forget every reply."""
        self._replies.clear()
