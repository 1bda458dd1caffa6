"""The image's disk: its partitions, their identities, and the commands that write them without a mount.

An MBR has room for four partitions, so the last one is extended and contains the others
(docs/decisions/0019-the-layout-of-the-card.md).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tools.image.state import devices, filesystem, mbr

MIB = 1024 * 1024
ALIGNMENT = 4 * MIB  # An erase block of a card. genimage's default is 512 bytes.
FAT32, LINUX = 0x0C, 0x83
TABLE = 440  # The byte of the first sector at which the disk signature and the partition table begin.
_NAMESPACE = uuid.UUID("6f0f4c7e-1c1d-4f6a-8f0e-3a8f1f1f8a52")


@dataclass(frozen=True)
class Partition:
    """A partition: its number, label, size in MiB, and its type in the MBR."""

    number: int
    label: str
    mib: int
    type: int

    is_empty: bool = False
    """Whether it has no file system yet."""

    @property
    def is_fat(self) -> bool:
        """Whether it has a FAT file system; the others have ext4."""
        return self.type == FAT32

    @property
    def file(self) -> str:
        """The name of the file with its content."""
        return f"{self.label}.img"


SITE = Partition(1, "site", 64, FAT32)
BOOT_A = Partition(2, "boot-a", 128, FAT32)
BOOT_B = Partition(3, "boot-b", 128, FAT32)
EXTENDED = 4
ROOT_A = Partition(5, "root-a", 1024, LINUX)
ROOT_B = Partition(6, "root-b", 1024, LINUX)
# It replaces a state partition that can't be repaired.
SPARE = Partition(devices.SPARE, "spare", 256, LINUX, is_empty=True)
STATE = Partition(devices.STATE, "state", 64, LINUX)
# The state partition is the last one: it grows at the first boot, and no other does.
PARTITIONS = (SITE, BOOT_A, BOOT_B, ROOT_A, ROOT_B, SPARE, STATE)


def partitions(root_mib: int = ROOT_A.mib) -> tuple[Partition, ...]:
    """Return the partitions of a disk whose root file systems have this size."""
    roots = (ROOT_A, ROOT_B)
    return tuple(replace(each, mib=root_mib) if each in roots else each for each in PARTITIONS)


@dataclass(frozen=True)
class Identity:
    """UUIDs, hash seeds and serial numbers that depend on the build's inputs only.

    digest: of the inputs. Other inputs have other identities, so two images are never confused.
    """

    digest: str

    def uuid(self, name: str) -> str:
        """Return the UUID of something with this name."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.digest} {name}"))

    def number(self, name: str) -> int:
        """Return 32 bits that are not 0, which means "none" in an MBR and a FAT."""
        return uuid.uuid5(_NAMESPACE, f"{self.digest} {name}").int & 0xFFFFFFFF or 1

    @property
    def signature(self) -> int:
        """The disk signature in the MBR."""
        return self.number("disk")

    def partuuid(self, partition: Partition) -> str:
        """Return the PARTUUID by which the kernel finds the partition."""
        return f"{self.signature:08x}-{partition.number:02x}"

    def volume_id(self, partition: Partition) -> str:
        """Return the serial number of a FAT file system, as blkid prints it."""
        number = f"{self.number(partition.label):08X}"
        return f"{number[:4]}-{number[4:]}"


def genimage_config(
    identity: Identity, name: str, boot_loader: bool, layout: Sequence[Partition] = PARTITIONS
) -> str:
    """Return genimage's configuration of the disk.

    boot_loader: whether the files boot.img and core.img go before the first partition (GRUB under BIOS).
    """
    lines = [
        f"image {name} {{",
        "  hdimage {",
        '    partition-table-type = "mbr"',
        f"    align = {ALIGNMENT // MIB}M",
        f"    disk-signature = 0x{identity.signature:08x}",
        f"    extended-partition = {EXTENDED}",
        "  }",
    ]
    if boot_loader:
        lines += _outside("boot.img", offset="0", size=str(TABLE))
        lines += _outside("core.img", offset="512", size="2M")
    for partition in layout:
        lines += [
            f"  partition {partition.label} {{",
            f'    image = "{partition.file}"',
            f"    partition-type = 0x{partition.type:02x}",
            f"    size = {partition.mib}M",
            *(["    bootable = true"] if partition is SITE else []),
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def layout_problems(entries: Sequence[mbr.Entry], layout: Sequence[Partition] = PARTITIONS) -> Iterator[str]:
    """Yield what a disk's partition tables have that differs from the layout."""
    found = {entry.number: entry for entry in entries if entry.number != EXTENDED}
    if sorted(found) != [partition.number for partition in layout]:
        yield f"the disk has the partitions {sorted(found)}"
        return
    for partition in layout:
        entry = found[partition.number]
        if (entry.type, entry.size) != (partition.type, partition.mib * MIB):
            yield f"{partition.label}: type 0x{entry.type:02x} and {entry.size} bytes"
        if entry.offset % ALIGNMENT:
            yield f"{partition.label}: begins at {entry.offset}, which is not a multiple of 4 MiB"
    if found[STATE.number].end != max(entry.end for entry in entries):
        yield "the state partition is not the last one"


def _outside(image: str, offset: str, size: str) -> list[str]:
    return [
        f"  partition {image.removesuffix('.img')} {{",
        "    in-partition-table = false",
        f'    image = "{image}"',
        f"    offset = {offset}",
        f"    size = {size}",
        "  }",
    ]


def ext4_command(identity: Identity, partition: Partition, content: Path | None, file: Path) -> list[str]:
    """Return the command that makes an ext4 file system of a folder, or an empty one."""
    seed = identity.uuid(f"{partition.label} hash")
    return [
        *("mke2fs", "-q", "-t", "ext4", "-L", partition.label, "-m", "1"),
        *("-U", identity.uuid(partition.label)),
        *filesystem.FEATURES,
        *(filesystem.MAKE if partition is STATE else ()),
        *("-E", f"hash_seed={seed},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"),
        *(["-d", str(content)] if content else []),
        *(str(file), f"{partition.mib}M"),
    ]


def times_script(epoch: int, inodes: int) -> str:
    """Return debugfs's commands that give the first `inodes` inodes one time of change and access.

    mke2fs takes both from the folder, and older than 1.47.1 does not set them to SOURCE_DATE_EPOCH.
    """
    fields = ("ctime", "atime")
    # The first ones are the file system's own, and lost+found.
    return "".join(
        f"set_inode_field <{inode}> {field} @{epoch}\n" for inode in range(12, inodes + 1) for field in fields
    )


def used_inodes(superblock: str) -> int:
    """Return how many inodes a new file system uses, from the output of dumpe2fs -h."""
    counts = dict(re.findall(r"^(Inode count|Free inodes): +(\d+)$", superblock, re.MULTILINE))
    return int(counts["Inode count"]) - int(counts["Free inodes"])


def fat_command(identity: Identity, partition: Partition, file: Path) -> list[str]:
    """Return the command that makes an empty FAT file system. The file must not exist."""
    return [
        *("mkfs.vfat", "--invariant", "-F", "32", "-n", partition.label.upper()),
        *("-i", f"{identity.number(partition.label):08x}"),
        *("-C", str(file), str(partition.mib * 1024)),
    ]
