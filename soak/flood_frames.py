"""The samples of the flood: all values of one are its counter, so that a mixture shows. Pure."""

from __future__ import annotations

import struct

from tests.unit.wire import adu

VALUES = 4
"""Values of two registers each: a sample has as many registers as one of the default map."""
QUANTITY = 2 * VALUES
_VALUES = struct.Struct(f">{VALUES}I")


def registers(counter: int) -> bytes:
    """Return the registers of a sample."""
    return _VALUES.pack(*[counter] * VALUES)


def request(counter: int) -> bytes:
    """Return the FC16 request that writes this counter's sample."""
    return adu(1, struct.pack(">BHHB", 16, 0, QUANTITY, 2 * QUANTITY) + registers(counter))


REPLY = adu(1, struct.pack(">BHH", 16, 0, QUANTITY))
"""The reply that acknowledges a sample."""


def counter_of(data: bytes) -> int | None:
    """Return the counter of a sample; None if the registers are not a whole sample."""
    if len(data) != _VALUES.size:
        return None
    counter, *others = _VALUES.unpack(data)
    return int(counter) if others == [counter] * (VALUES - 1) else None
