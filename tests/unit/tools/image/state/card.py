"""A card in a file: the image's partition tables, and a file for each partition's content."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tools.image import disk
from tools.image.state import filesystem, mbr

MIB = 1024 * 1024
TOOLS = pytest.mark.skipif(not shutil.which("mke2fs", path="/usr/sbin:/sbin"), reason="needs e2fsprogs")


def write_tables(file: Path, mib: int) -> None:
    """Write the layout's tables, as genimage does, into a sparse file of this size."""
    tables: dict[int, list[tuple[int, int, int]]] = {0: []}
    offset, extended = 4, 0
    logical = [partition for partition in disk.PARTITIONS if partition.number > disk.EXTENDED]
    for partition in disk.PARTITIONS:
        if partition in logical:
            table, offset = offset, offset + 4
            if not extended:
                extended = table
            else:
                [*_, last] = tables
                tables[last].append((0x0F, table - extended, partition.mib + 4))
            tables[table] = [(partition.type, 4, partition.mib)]
        else:
            tables[0].append((partition.type, offset, partition.mib))
        offset += partition.mib
    tables[0].append((0x0F, extended, offset - extended))
    per = MIB // mbr.SECTOR
    with file.open("wb") as opened:
        opened.truncate(mib * MIB)
        for table, entries in tables.items():
            for number, (kind, start, size) in enumerate(entries):
                opened.seek(table * MIB + mbr.TABLE + 16 * number)
                opened.write(struct.pack("<4xB3xII", kind, start * per, size * per))
            opened.seek(table * MIB + 510)
            opened.write(b"\x55\xaa")


USED = 4 + sum(p.mib for p in disk.PARTITIONS) + 4 * sum(p.number > disk.EXTENDED for p in disk.PARTITIONS)
"""MiB that the layout takes."""


@dataclass
class Card:
    """Stands for devices.Disk. Its partitions are files beside the disk's."""

    folder: Path
    mib: int = USED + 100
    kernel: dict[int, int] = field(default_factory=dict)
    """The sectors that the kernel has of a partition."""

    def __post_init__(self) -> None:
        write_tables(self.device, self.mib)
        self.read_tables()
        filesystem.make(self.partition(8), "state")

    @property
    def device(self) -> Path:
        return self.folder / "card"

    def read_tables(self) -> None:
        """As the kernel does at each boot."""
        for entry in mbr.read(self.device):
            if entry.number > disk.EXTENDED:
                self.resize(entry.number, entry.size // mbr.SECTOR)

    def partition(self, number: int) -> Path:
        if number not in self.kernel:
            raise FileNotFoundError(f"no partition {number}")
        return self.folder / f"card{number}"

    def sectors(self, number: int) -> int:
        self.partition(number)
        return self.kernel[number]

    def resize(self, number: int, sectors: int) -> None:
        self.kernel[number] = sectors
        with self.partition(number).open("ab") as file:
            file.truncate(sectors * mbr.SECTOR)


def put(device: Path, name: str, text: str) -> None:
    """Write a file into an ext4 file system."""
    source = device.with_name("source")
    source.write_text(text)
    debug(device, f"write {source} {name}")


def debug(device: Path, *commands: str) -> None:
    """Change an ext4 file system with debugfs."""
    for command in commands:
        done = subprocess.run(
            ["/usr/sbin/debugfs", "-w", "-R", command, device], check=True, capture_output=True
        )
        assert b"not found" not in done.stderr, done.stderr


def get(device: Path, name: str) -> str:
    """Return a file of an ext4 file system; empty if it has none."""
    done = subprocess.run(["/usr/sbin/debugfs", "-R", f"cat {name}", device], check=True, capture_output=True)
    return done.stdout.decode()
