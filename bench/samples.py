"""The contents of the eight holding registers; load.c and libmodbus_server.c use the same values."""

from __future__ import annotations

import struct
from collections.abc import Iterable

PRESET = (250, 260, 485, 536, 850, 456, 22150, 5600)
"""The initial values of every server."""
_LAYOUT = struct.Struct(">6HI")


def sample(number: int) -> bytes:
    """Return the registers of a load's write, 16 bytes in wire order, like load.c's function of this name."""
    low, high = number & 0xFFFF, number >> 16
    return _LAYOUT.pack(
        low,
        high,
        low ^ 0x5A5A,
        high ^ 0xA5A5,
        (number * 2654435761 & 0xFFFFFFFF) >> 16,
        (number + 1) & 0xFFFF,
        1_700_000_000 + number,
    )


def differences(rows: Iterable[bytes], written: int) -> int:
    """Return how many rows are not one of the preset values and the writes 0 to `written` - 1, each once.

    rows: the registers of each row, in wire order. A missing write also counts.
    """
    missing = set(range(written))
    preset = struct.pack(">8H", *PRESET)
    wrong = preset_rows = 0
    for row in rows:
        if row == preset:
            preset_rows += 1
            continue
        low, high = struct.unpack_from(">HH", row)
        number = high << 16 | low
        if number in missing and row == sample(number):
            missing.discard(number)
        else:
            wrong += 1
    return wrong + len(missing) + abs(preset_rows - 1)
