"""Grows the last logical partition to the end of the disk, in its partition tables only.

First the extended partition grows, then the last partition in it: two writes of one sector each. A power cut
between them leaves valid tables (docs/decisions/0019), and the next call continues.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from . import mbr

ALIGNMENT = 4 * 1024 * 1024  # An erase block of a card.
_MOST_SECTORS = 2**32 - 1  # An MBR counts sectors in 32 bits.


@dataclass(frozen=True)
class Write:
    """A number of sectors that is to be written: in which table, in which entry of it (from 0)."""

    table: int
    entry: int
    sectors: int


def planned(disk: Path) -> list[Write]:
    """Return the writes that make the last partition end where the disk ends; none if it does.

    Raises ValueError if the disk has another kind of layout.
    """
    with disk.open("rb") as file:
        end = _end(file)
        primary = mbr.entries(file, 0)
        found = [number for number, entry in enumerate(primary) if entry[0] in mbr.EXTENDED]
        if len(found) != 1:
            raise ValueError("the disk has no extended partition, or several")
        _, first, sectors = primary[found[0]]
        if any(start >= first + sectors for kind, start, _ in primary if kind):
            raise ValueError("the extended partition is not the last one")
        table = _last_table(file, first)
        kind, start, size = mbr.entries(file, table)[0]
        if not kind:
            raise ValueError("the last table of the extended partition is empty")
    writes = [
        Write(0, found[0], end - first) if first + sectors < end else None,
        Write(table, 0, end - table - start) if table + start + size < end else None,
    ]
    return [write for write in writes if write]


def apply(disk: Path, write: Write) -> None:
    """Write one sector, and wait until it is on the disk."""
    with disk.open("r+b", buffering=0) as file:
        file.seek(write.table * mbr.SECTOR)
        content = bytearray(file.read(mbr.SECTOR))
        struct.pack_into("<I", content, mbr.TABLE + 16 * write.entry + 12, write.sectors)
        file.seek(write.table * mbr.SECTOR)
        file.write(content)
        os.fsync(file.fileno())


def _end(file: BinaryIO) -> int:
    """Return the first sector behind the room that partitions may use."""
    size = file.seek(0, os.SEEK_END)
    return min(size - size % ALIGNMENT, _MOST_SECTORS * mbr.SECTOR) // mbr.SECTOR


def _last_table(file: BinaryIO, first: int) -> int:
    table = first
    for _ in range(mbr.MOST):
        link = next((entry for entry in mbr.entries(file, table)[1:2] if entry[0] in mbr.EXTENDED), None)
        if link is None:
            return table
        table = first + link[1]
    raise ValueError("the tables of the extended partition form a ring")
