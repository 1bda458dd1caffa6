"""Frames that no well-behaved client sends, and what each has to be answered with. Pure: a seed decides."""

from __future__ import annotations

import enum
import random
import struct
from dataclasses import dataclass

from smart_meter.modbus.adu import MAX_LENGTH
from smart_meter.modbus.functions import FUNCTIONS

MOST = 18
"""Frames with a right header in one volley, at the most."""
_KNOWN = sorted(int(code) for code in FUNCTIONS)


class End(enum.Enum):
    """How a volley ends; each but the first two leaves a stream that can't be followed."""

    HALF_CLOSE = "half-close"
    """The client sends no more, and waits for the replies."""
    RESET = "reset"
    """The client is gone, and takes no reply."""
    TRUNCATED = "truncated"
    """A frame that is shorter than its header says; then no more comes."""
    NOISE = "noise"
    """Random bytes."""
    PROTOCOL = "protocol"
    """A protocol identifier other than 0."""
    LENGTH = "length"
    """A length that no frame has."""


@dataclass(frozen=True, slots=True)
class Volley:
    """What is sent over one connection, at once."""

    data: bytes
    heads: tuple[bytes, ...]
    """Transaction identifier, unit identifier and function code of each frame that is to be answered."""
    end: End
    frames: int
    """Of all kinds."""


class Generator:
    """An endless supply of volleys; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - variety, not a secret

    def volley(self) -> Volley:
        """Return the next one."""
        dice = self._dice
        frames = [self.frame() for _ in range(dice.randint(1, MOST))]
        end = dice.choice(tuple(End))
        tail = self._tail(end)
        heads = tuple(frame[:2] + frame[6:8] for frame in frames)
        return Volley(b"".join(frames) + tail, heads, end, len(frames) + (1 if tail else 0))

    def frame(self) -> bytes:
        """Return a frame with a right header, whatever stands behind it."""
        pdu = self._pdu()
        # Mostly a unit that is there.
        unit = self._dice.choice((1, 1, 1, 2, 0, 255, self._dice.randrange(256)))
        return struct.pack(">HHHB", self._dice.randrange(0x10000), 0, len(pdu) + 1, unit) + pdu

    def _pdu(self) -> bytes:
        dice = self._dice
        kind = dice.random()
        if kind < 0.3:
            return bytes((dice.randrange(256),)) + dice.randbytes(dice.randrange(MAX_LENGTH - 1))
        code = dice.choice(_KNOWN)
        if kind < 0.6:
            return bytes((code,)) + dice.randbytes(dice.randrange(24))
        # Nearly right: small addresses and quantities, and what follows is as long as they say, or is not.
        address, quantity = dice.randrange(12), dice.choice((0, 1, 2, 8, 9, 125, 126, 0xFFFF))
        size = dice.choice((quantity * 2 % 256, quantity % 256, dice.randrange(256)))
        values = dice.randbytes(min(size, 240))
        return (
            bytes((code,)) + struct.pack(">HHB", address, quantity, size)[: dice.choice((3, 4, 5))] + values
        )

    def _tail(self, end: End) -> bytes:
        dice = self._dice
        if end is End.TRUNCATED:
            whole = self.frame()
            return whole[: dice.randrange(1, len(whole))]
        if end is End.NOISE:
            # Its third byte is part of the protocol identifier: this is never a frame by chance.
            return (
                dice.randbytes(2) + bytes((dice.randrange(1, 256),)) + dice.randbytes(dice.randrange(5, 400))
            )
        if end is End.PROTOCOL:
            whole = self.frame()
            return whole[:2] + struct.pack(">H", dice.randrange(1, 0x10000)) + whole[4:]
        if end is End.LENGTH:
            whole = self.frame()
            length = dice.choice((0, 1, dice.randrange(MAX_LENGTH + 1, 0x10000)))
            return whole[:4] + struct.pack(">H", length) + whole[6:]
        return b""
