"""Frames that no well-behaved client sends, and the replies that they require. Pure: determined by a seed."""

from __future__ import annotations

import enum
import random
import struct
from dataclasses import dataclass

from smart_meter.modbus.adu import MAX_LENGTH
from smart_meter.modbus.functions import FUNCTIONS

MAX_FRAMES = 18
"""Frames with a valid header in one volley, at most."""
_KNOWN = sorted(int(code) for code in FUNCTIONS)


class End(enum.Enum):
    """How a volley ends. All but the first two leave a stream that the server can't parse any further."""

    HALF_CLOSE = "half-close"
    """The client sends nothing more, and waits for the replies."""
    RESET = "reset"
    """The client disconnects without reading a reply."""
    TRUNCATED = "truncated"
    """A frame that is shorter than its header states, and nothing after it."""
    NOISE = "noise"
    """Random bytes."""
    PROTOCOL = "protocol"
    """A protocol identifier other than 0."""
    LENGTH = "length"
    """An invalid length."""


@dataclass(frozen=True, slots=True)
class Volley:
    """What is sent at once over one connection."""

    data: bytes
    heads: tuple[bytes, ...]
    """Transaction identifier, unit identifier and function code of each frame that must be answered."""
    end: End
    frames: int
    """All frames, valid or not."""


class Generator:
    """Generates volleys without end. The same seed generates the same volleys."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - variety, not a secret

    def volley(self) -> Volley:
        """Return the next volley."""
        rng = self._random
        frames = [self.frame() for _ in range(rng.randint(1, MAX_FRAMES))]
        end = rng.choice(tuple(End))
        tail = self._tail(end)
        heads = tuple(frame[:2] + frame[6:8] for frame in frames)
        return Volley(b"".join(frames) + tail, heads, end, len(frames) + (1 if tail else 0))

    def frame(self) -> bytes:
        """Return a frame with a valid header and any content."""
        pdu = self._pdu()
        # Mostly a unit that exists.
        unit = self._random.choice((1, 1, 1, 2, 0, 255, self._random.randrange(256)))
        return struct.pack(">HHHB", self._random.randrange(0x10000), 0, len(pdu) + 1, unit) + pdu

    def _pdu(self) -> bytes:
        rng = self._random
        kind = rng.random()
        if kind < 0.3:
            return bytes((rng.randrange(256),)) + rng.randbytes(rng.randrange(MAX_LENGTH - 1))
        code = rng.choice(_KNOWN)
        if kind < 0.6:
            return bytes((code,)) + rng.randbytes(rng.randrange(24))
        # Almost valid: small addresses and quantities, followed by a correct or an incorrect number of bytes.
        address, quantity = rng.randrange(12), rng.choice((0, 1, 2, 8, 9, 125, 126, 0xFFFF))
        size = rng.choice((quantity * 2 % 256, quantity % 256, rng.randrange(256)))
        values = rng.randbytes(min(size, 240))
        return bytes((code,)) + struct.pack(">HHB", address, quantity, size)[: rng.choice((3, 4, 5))] + values

    def _tail(self, end: End) -> bytes:
        rng = self._random
        if end is End.TRUNCATED:
            whole = self.frame()
            return whole[: rng.randrange(1, len(whole))]
        if end is End.NOISE:
            # The third byte is part of the protocol identifier. As it is not 0, this can't be a valid frame.
            return rng.randbytes(2) + bytes((rng.randrange(1, 256),)) + rng.randbytes(rng.randrange(5, 400))
        if end is End.PROTOCOL:
            whole = self.frame()
            return whole[:2] + struct.pack(">H", rng.randrange(1, 0x10000)) + whole[4:]
        if end is End.LENGTH:
            whole = self.frame()
            length = rng.choice((0, 1, rng.randrange(MAX_LENGTH + 1, 0x10000)))
            return whole[:4] + struct.pack(">H", length) + whole[6:]
        return b""
