"""Finds the partitions of the disk that the system runs from, by their numbers."""

from __future__ import annotations

import ctypes
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from .mbr import SECTOR

SPARE, STATE = 7, 8
"""The numbers of the partitions (docs/decisions/0019-the-layout-of-the-card.md)."""

_BLKPG, _RESIZE = 0x1269, 3  # linux/fs.h, linux/blkpg.h


class _Partition(ctypes.Structure):
    """struct blkpg_partition: start and length in bytes."""

    _fields_ = (
        ("start", ctypes.c_longlong),
        ("length", ctypes.c_longlong),
        ("number", ctypes.c_int),
        ("names", ctypes.c_char * 128),
    )


class _Argument(ctypes.Structure):
    """struct blkpg_ioctl_arg."""

    _fields_ = (
        ("operation", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_int),
        ("data", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Disk:
    """The disk of the root file system. sys: its folder in sysfs; dev: the folder of device files."""

    sys: Path
    dev: Path = Path("/dev")

    @classmethod
    def of_root(cls) -> Disk:
        """Return the disk that has the root file system. Raises OSError."""
        device = os.stat("/").st_dev
        part = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve(strict=True)
        return cls(part.parent)

    @property
    def device(self) -> Path:
        """The device file of the whole disk."""
        return self.dev / self.sys.name

    def partition(self, number: int) -> Path:
        """Return the device file of a partition. Raises OSError if the kernel has none of this number."""
        return self.dev / self._folder(number).name

    def sectors(self, number: int) -> int:
        """Return the size of a partition as the kernel has it. Raises OSError."""
        return int((self._folder(number) / "size").read_text())

    def resize(self, number: int, sectors: int) -> None:
        """Give the kernel the size of a partition that has grown. Raises OSError.

        The kernel reads the tables of a disk only while none of its partitions is mounted.
        """
        start = int((self._folder(number) / "start").read_text())
        partition = _Partition(start * SECTOR, sectors * SECTOR, number)
        argument = _Argument(_RESIZE, 0, ctypes.sizeof(partition), ctypes.addressof(partition))
        with self.device.open("rb") as disk:
            fcntl.ioctl(disk, _BLKPG, bytes(argument))

    def _folder(self, number: int) -> Path:
        for file in sorted(self.sys.glob("*/partition")):
            if file.read_text().strip() == str(number):
                return file.parent
        raise FileNotFoundError(f"{self.device} has no partition {number}")
