"""Finds the partitions of the disk that the system runs from, by their numbers."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SPARE, STATE = 7, 8
"""The numbers of the partitions (docs/decisions/0019-the-layout-of-the-card.md)."""


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
        """Give the kernel the size of a partition that has grown. Raises OSError."""
        command = ["/usr/sbin/resizepart", str(self.device), str(number), str(sectors)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"resizepart {self.device} {number}: {done.stderr.strip()}")

    def _folder(self, number: int) -> Path:
        for file in sorted(self.sys.glob("*/partition")):
            if file.read_text().strip() == str(number):
                return file.parent
        raise FileNotFoundError(f"{self.device} has no partition {number}")
