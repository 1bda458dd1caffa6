"""Reads the partition tables of a disk: the MBR, and the chain of tables in its extended partition."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SECTOR = 512
TABLE, _SIGNATURE = 446, b"\x55\xaa"
EXTENDED = (0x05, 0x0F, 0x85)
MOST = 60  # Linux numbers the partitions of a card up to 63.


@dataclass(frozen=True)
class Entry:
    """A partition of a disk: its number as Linux counts, its type, and where it is, in bytes."""

    number: int
    type: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


def read(disk: Path) -> list[Entry]:
    """Return the partitions of a disk, without empty ones. Raises ValueError if there is no table."""
    with disk.open("rb") as file:
        primary = entries(file, 0)
        found = [
            Entry(number, kind, start * SECTOR, sectors * SECTOR)
            for number, (kind, start, sectors) in enumerate(primary, 1)
            if kind
        ]
        for entry in [entry for entry in found if entry.type in EXTENDED]:
            found += _logical(file, entry.offset // SECTOR)
    return found


def signature(disk: Path) -> int:
    """Return the disk signature, which begins the PARTUUID of each partition."""
    with disk.open("rb") as file:
        file.seek(440)
        return int.from_bytes(file.read(4), "little")


def _logical(file: BinaryIO, extended: int) -> list[Entry]:
    """Follow the chain of tables. A partition is relative to its table, a link to the first table."""
    found: list[Entry] = []
    table = extended
    while len(found) < MOST:
        (kind, start, sectors), (link_type, link, _), *_ = entries(file, table)
        if kind:
            found.append(Entry(5 + len(found), kind, (table + start) * SECTOR, sectors * SECTOR))
        if link_type not in EXTENDED:
            return found
        table = extended + link
    raise ValueError(f"the extended partition has more than {MOST} partitions, or its tables form a ring")


def entries(file: BinaryIO, sector: int) -> list[tuple[int, int, int]]:
    """Return the four entries of a table: type, first sector (see `read`), number of sectors."""
    file.seek(sector * SECTOR)
    content = file.read(SECTOR)
    if content[510:] != _SIGNATURE:
        raise ValueError(f"sector {sector} is not a partition table: it does not end with 55 aa")
    return [struct.unpack_from("<4xB3xII", content, TABLE + 16 * number) for number in range(4)]
