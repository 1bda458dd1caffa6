"""Byte and word order of a number in its registers. `Measurement` applies it when it encodes and decodes."""

from __future__ import annotations

import enum


class WordOrder(enum.Enum):
    """Which register of a number comes first. The bytes within a register are always high byte first."""

    BIG = "big"
    """The high word first: ABCD."""
    LITTLE = "little"
    """The low word first: CDAB."""
