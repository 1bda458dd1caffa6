"""The contents of the eight holding registers; wire.h and libmodbus_server.c use the same values."""

from __future__ import annotations

import struct
from collections.abc import Iterable

PRESET = (250, 260, 485, 536, 850, 456, 22150, 5600)
"""The initial values of every server."""
PERIODS = (19997, 19993, 14983, 19991, 1597, 997)
"""The number of different values of each register before the timestamp; see wire.h."""
FIRST_TIMESTAMP = 1_700_000_000
_LAYOUT = struct.Struct(">6HI")
_TIMESTAMP = struct.Struct(">I")


def sample(number: int) -> bytes:
    """Return the registers of a load's sample, 16 bytes in wire order, like `put_sample` in wire.h."""
    values = (number * (index + 1) % period for index, period in enumerate(PERIODS))
    return _LAYOUT.pack(*values, FIRST_TIMESTAMP + number)


def differences(rows: Iterable[bytes], written: int) -> int:
    """Return how many rows are not one of the preset values and the writes 0 to `written` - 1, each once.

    rows: the registers of each row, in wire order. A missing write also counts.
    """
    wrong, missing = compare(rows, written)
    return wrong + missing


def compare(rows: Iterable[bytes], begun: int) -> tuple[int, int]:
    """Return how many rows are wrong, and how many samples have no row.

    The samples are the preset values and 0 to `begun` - 1, each once. rows: as for `differences`.
    """
    missing = set(range(begun))
    preset = struct.pack(">8H", *PRESET)
    wrong = preset_rows = 0
    for row in rows:
        if row == preset:
            preset_rows += 1
            continue
        number = _TIMESTAMP.unpack_from(row, 12)[0] - FIRST_TIMESTAMP
        if number in missing and row == sample(number):
            missing.discard(number)
        else:
            wrong += 1
    return wrong + max(preset_rows - 1, 0), len(missing) + (preset_rows == 0)
