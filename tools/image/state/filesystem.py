"""Checks, makes and grows the ext4 file system of a state partition, on a device or a file."""

from __future__ import annotations

import enum
import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import growth

# mke2fs has its own choice in settings of the machine, on which the image must not depend.
FEATURES = (
    "-O",
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize,metadata_csum",
)
# The partition begins small and grows: without these, mke2fs would choose blocks of 1 KiB, a journal of
# 4 MiB and an inode for each 4 KiB.
MAKE = ("-b", "4096", "-i", "32768", "-J", "size=16")
MOUNT = "noatime,lazytime,commit=60,errors=remount-ro"
"""Every program that needs its data on the card calls fsync, so the other data may wait for a minute."""

# A card that fails can make a program wait forever.
_CHECK_SECONDS, _SECONDS = 900.0, 120.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SUPERBLOCK, _MAGIC = 1024, 0xEF53
# The first copy of it, with blocks of 4 KiB (MAKE).
_BACKUP = 32768 * 4096
_64BIT = 0x80  # s_feature_incompat
_CORRECTED = 2  # e2fsck's exit status: up to this one, no error is left.


class Health(enum.Enum):
    """The result of a check."""

    CLEAN = "clean"
    REPAIRED = "repaired"
    BROKEN = "broken"


def check(device: Path) -> tuple[Health, str]:
    """Check a file system that is not mounted, and repair it; return its health, and e2fsck's last words."""
    printed = ""
    for option in ("-p", "-y"):
        try:
            done = _run("e2fsck", option, str(device), seconds=_CHECK_SECONDS)
        except TimeoutError as error:
            return Health.BROKEN, str(error)
        printed = _last_line(done.stdout + done.stderr)
        if done.returncode == 0:
            return (Health.CLEAN if option == "-p" else Health.REPAIRED), printed
        if 0 < done.returncode <= _CORRECTED:
            return Health.REPAIRED, printed
    return Health.BROKEN, printed


def make(device: Path, label: str) -> None:
    """Make an empty file system in place of what is there. Raises OSError."""
    done = _run("mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-m", "1", *FEATURES, *MAKE, str(device))
    if done.returncode:
        raise OSError(f"mke2fs {device}: {_last_line(done.stderr)}")


def was_made(device: Path) -> bool:
    """Return whether a device has an ext4 file system, damaged or not. Raises OSError if it can't be read."""
    found, errors = [], []
    with device.open("rb") as file:
        for offset in (_SUPERBLOCK, _BACKUP):
            try:
                found.append(os.pread(file.fileno(), 1024, offset))
            except OSError as error:
                errors.append(error)
    if not any(found) and errors:
        raise errors[0]
    return any(len(content) == 1024 and _has_magic(content) for content in found)


def is_smaller(device: Path) -> bool:
    """Return whether the file system could grow by 4 MiB or more. Raises ValueError."""
    with device.open("rb") as file:
        file.seek(_SUPERBLOCK)
        content = file.read(1024)
        size = file.seek(0, os.SEEK_END)
    if len(content) < 1024 or not _has_magic(content):
        raise ValueError(f"{device} has no ext4 file system")
    count, shift = (struct.unpack_from("<I", content, offset)[0] for offset in (4, 24))
    if struct.unpack_from("<I", content, 96)[0] & _64BIT:
        count |= struct.unpack_from("<I", content, 0x150)[0] << 32
    # resize2fs leaves less than that unused, since a group of blocks would have no room for its own tables.
    return bool(size - count * (1024 << shift) >= growth.ALIGNMENT)


def _has_magic(superblock: bytes) -> bool:
    return bool(struct.unpack_from("<H", superblock, 56)[0] == _MAGIC)


def grow(device: Path) -> None:
    """Grow a mounted file system to the end of its device. Raises OSError; it can be called again."""
    done = _run("resize2fs", str(device))
    if done.returncode:
        raise OSError(f"resize2fs {device}: {_last_line(done.stderr)}")


def _run(*command: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program. Raises TimeoutError, an OSError."""
    seconds = seconds or _SECONDS
    environment = {"PATH": _PATH, "LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            # A label that is damaged may be any bytes.
            errors="replace",
            check=False,
            env=environment,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{command[0]} did not end within {seconds:g} s") from None


def _last_line(text: str) -> str:
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
