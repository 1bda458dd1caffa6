"""The building machine: what it needs, and the folders in which a build works."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.image import disk, writing
from tools.image.process import BuildError
from tools.image.settings import REPOSITORY

_PROGRAMS = ("mmdebstrap", "genimage", "mke2fs", "dumpe2fs", "debugfs", "mkfs.vfat", "mcopy", "xz", "unshare")


@dataclass(frozen=True)
class Places:
    """Where a build works: everything is below one folder, which keeps the downloaded packages."""

    cache: Path
    name: str

    @property
    def work(self) -> Path:
        """The folder of this image, which each build begins by removing."""
        return self.cache / self.name

    @property
    def root(self) -> Path:
        """The root file system."""
        return self.work / "root"

    @property
    def packages(self) -> Path:
        """The downloaded packages of all builds."""
        return self.cache / "packages"

    @property
    def parts(self) -> Path:
        """The folder of the partitions' contents and files."""
        return self.work / "parts"

    def content(self, partition: disk.Partition) -> Path:
        """Return the folder of what a partition contains."""
        return self.parts / partition.label


def require() -> None:
    """Raise BuildError if an image can't be built here."""
    if os.geteuid() != 0:
        raise BuildError("an image is built as root, so that its files have their owners: use make image")
    if missing := [name for name in _PROGRAMS if not shutil.which(name, path=writing.PATH)]:
        raise BuildError(f"missing programs: {', '.join(missing)}; install them with: tools/setup image")


def debian_architecture() -> str:
    """Return Debian's name of this machine's architecture."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def emulator() -> Path:
    """Return QEMU for arm64 programs, which tools/setup unpacks without registering it on this machine.

    Raises BuildError.
    """
    folder = REPOSITORY / ".cache/emulator/usr/bin"
    # Debian 12 and 13 name it differently.
    for path in (folder / "qemu-aarch64-static", folder / "qemu-aarch64"):
        if path.exists():
            return path.resolve()
    raise BuildError("missing program: qemu-aarch64-static; install it with: tools/setup image")
