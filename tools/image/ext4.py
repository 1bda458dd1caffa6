"""Reads an ext4 file system in a file, without a mount.

With owners, modes, times, hard links, device nodes and extended attributes, such as capabilities:
debugfs's rdump loses some of them. The format is that of the kernel's documentation (filesystems/ext4).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAGIC, _EXTENTS_MAGIC, _XATTR_MAGIC = 0xEF53, 0xF30A, 0xEA020000
_ROOT = 2
_EXTENTS = 0x80000
# The features that change what is read here. Others only concern writers.
_RECOVER, _64BIT = 0x4, 0x80
_KNOWN = 0x2 | 0x40 | _64BIT | 0x200 | 0x2000 | 0x4000
_ACLS = {2: "system.posix_acl_access", 3: "system.posix_acl_default"}
_PREFIXES = {1: "user.", 4: "trusted.", 6: "security.", **_ACLS}
# Entries of an ACL with the number of a user or a group.
_ACL_NUMBERED = (2, 8)
_ACL_NO_NUMBER = 0xFFFFFFFF
_UNWRITTEN = 32768  # More blocks than this: reserved, not written.
_CHUNK = 4 * 1024 * 1024


class Ext4Error(ValueError):
    """The file system can't be read. The text gives the reason."""


@dataclass(frozen=True)
class Inode:
    """A file, folder, link or device."""

    number: int
    mode: int
    owner: int
    group: int
    size: int
    links: int
    modified: int  # in nanoseconds since 1970
    flags: int
    block: bytes
    xattrs: dict[str, bytes]


class Ext4:
    """A file system that begins at `offset` of a file. Raises Ext4Error if it can't be read."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file, self._offset = file, offset
        head = self._bytes(1024, 1024)
        [magic] = struct.unpack_from("<H", head, 0x38)
        if magic != _MAGIC:
            raise Ext4Error("is not ext4")
        [incompatible] = struct.unpack_from("<I", head, 0x60)
        if incompatible & _RECOVER:
            raise Ext4Error("was not unmounted: its journal has changes that are not applied")
        if unknown := incompatible & ~_KNOWN:
            raise Ext4Error(f"has features that are not supported: 0x{unknown:x}")
        blocks, free, first = (struct.unpack_from("<I", head, at)[0] for at in (0x4, 0xC, 0x14))
        self._block_size = 1024 << struct.unpack_from("<I", head, 0x18)[0]
        [self._inodes_per_group] = struct.unpack_from("<I", head, 0x28)
        [self._inode_size] = struct.unpack_from("<H", head, 0x58)
        wide = bool(incompatible & _64BIT)
        self._descriptor_size = struct.unpack_from("<H", head, 0xFE)[0] if wide else 32
        self._descriptors = (first + 1) * self._block_size
        self.used = (blocks - free) * self._block_size
        """The bytes that are in use."""

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, or None if there is no such file. Links are not followed."""
        inode = self._find(path)
        return self._content(inode) if inode and stat.S_ISREG(inode.mode) else None

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""
        inode = self._find(path)
        return sorted(name for name, _ in self._entries(inode)) if inode else []

    def extract(self, target: Path) -> None:
        """Write everything into a folder, which must not exist. Root is needed to keep the owners."""
        seen: dict[int, Path] = {}
        self._extract(self._inode(_ROOT), target, seen)

    def _extract(self, inode: Inode, target: Path, seen: dict[int, Path]) -> None:
        if inode.number in seen:
            os.link(seen[inode.number], target, follow_symlinks=False)
            return
        if stat.S_ISDIR(inode.mode):
            target.mkdir()
            for name, number in self._entries(inode):
                if name != "lost+found" or inode.number != _ROOT:
                    self._extract(self._inode(number), target / name, seen)
        elif stat.S_ISLNK(inode.mode):
            target.symlink_to(os.fsdecode(self._content(inode)))
        elif stat.S_ISREG(inode.mode):
            self._write(inode, target)
        else:
            os.mknod(target, stat.S_IFMT(inode.mode) | 0o600, _device(inode))
        if inode.links > 1 and not stat.S_ISDIR(inode.mode):
            seen[inode.number] = target
        _set_metadata(inode, target)

    def _write(self, inode: Inode, target: Path) -> None:
        with target.open("xb") as file:
            file.truncate(inode.size)
            for logical, physical, count in self._extents(inode):
                start, at = logical * self._block_size, physical * self._block_size
                end = at + min(count * self._block_size, inode.size - start)
                file.seek(start)
                while at < end:
                    at += file.write(self._bytes(at, min(end - at, _CHUNK)))

    def _find(self, path: str) -> Inode | None:
        inode = self._inode(_ROOT)
        for part in path.split("/"):
            number = dict(self._entries(inode)).get(part) if stat.S_ISDIR(inode.mode) else None
            if number is None:
                return None
            inode = self._inode(number)
        return inode

    def _entries(self, folder: Inode) -> Iterator[tuple[str, int]]:
        """Yield the names in a folder with their inodes. Nodes of its index look like unused entries."""
        content = self._content(folder) if stat.S_ISDIR(folder.mode) else b""
        at = 0
        while at < len(content):
            number, length, name_length = struct.unpack_from("<IHB", content, at)
            if length < 8:
                raise Ext4Error(f"has a damaged folder (inode {folder.number})")
            name = os.fsdecode(content[at + 8 : at + 8 + name_length])
            at += length
            if number and name not in (".", ".."):
                if not name or "/" in name or "\0" in name:
                    raise Ext4Error(f"has a file with a name that is not valid (inode {number})")
                yield name, number

    def _content(self, inode: Inode) -> bytes:
        if stat.S_ISLNK(inode.mode) and not inode.flags & _EXTENTS:
            return inode.block[: inode.size]
        content = bytearray(inode.size)
        for logical, physical, count in self._extents(inode):
            found = self._bytes(physical * self._block_size, count * self._block_size)
            start = logical * self._block_size
            content[start : start + len(found)] = found
        return bytes(content[: inode.size])

    def _extents(self, inode: Inode) -> Iterator[tuple[int, int, int]]:
        """Yield the file's first block, the disk's first block and the number of blocks of each extent."""
        if not inode.flags & _EXTENTS:
            if inode.size:
                raise Ext4Error(f"has a file without extents (inode {inode.number}), as ext3 has them")
            return
        yield from self._extents_of(inode.block)

    def _extents_of(self, node: bytes) -> Iterator[tuple[int, int, int]]:
        magic, count, _, depth = struct.unpack_from("<4H", node)
        if magic != _EXTENTS_MAGIC:
            raise Ext4Error("has a damaged file: its list of extents does not begin with its magic number")
        for at in range(12, 12 + 12 * count, 12):
            if depth:
                _, low, high = struct.unpack_from("<2IH", node, at)
                yield from self._extents_of(
                    self._bytes((high << 32 | low) * self._block_size, self._block_size)
                )
            else:
                logical, length, high, low = struct.unpack_from("<I2HI", node, at)
                if length <= _UNWRITTEN:
                    yield logical, high << 32 | low, length

    def _inode(self, number: int) -> Inode:
        group, index = divmod(number - 1, self._inodes_per_group)
        descriptor = self._bytes(self._descriptors + group * self._descriptor_size, self._descriptor_size)
        [table] = struct.unpack_from("<I", descriptor, 8)
        if self._descriptor_size > 32:
            table |= struct.unpack_from("<I", descriptor, 0x28)[0] << 32
        raw = self._bytes(table * self._block_size + index * self._inode_size, self._inode_size)
        mode, owner, size, _, _, seconds, _, group_id, links, _, flags = struct.unpack_from("<2H5I2H2I", raw)
        acl, size_high = struct.unpack_from("<2I", raw, 0x68)
        acl_high, owner_high, group_high = struct.unpack_from("<3H", raw, 0x76)
        extra = struct.unpack_from("<H", raw, 0x80)[0] if self._inode_size > 128 else 0
        nanoseconds = struct.unpack_from("<I", raw, 0x88)[0] if extra >= 12 else 0
        seconds = (seconds ^ 0x80000000) - 0x80000000 + ((nanoseconds & 3) << 32)
        xattrs = _xattrs_in(raw, 128 + extra) if extra else {}
        if block := acl_high << 32 | acl:
            xattrs |= _xattrs_of(self._bytes(block * self._block_size, self._block_size))
        return Inode(
            number,
            mode,
            owner_high << 16 | owner,
            group_high << 16 | group_id,
            size_high << 32 | size,
            links,
            seconds * 10**9 + (nanoseconds >> 2),
            flags,
            raw[0x28 : 0x28 + 60],
            xattrs,
        )

    def _bytes(self, at: int, count: int) -> bytes:
        self._file.seek(self._offset + at)
        found = self._file.read(count)
        if len(found) != count:
            raise Ext4Error("is not complete")
        return found


def _xattrs_in(raw: bytes, start: int) -> dict[str, bytes]:
    """Return the extended attributes in an inode. Values are relative to the first entry."""
    if start + 4 > len(raw) or struct.unpack_from("<I", raw, start)[0] != _XATTR_MAGIC:
        return {}
    return dict(_xattrs(raw, start + 4, start + 4))


def _xattrs_of(block: bytes) -> dict[str, bytes]:
    """Return the extended attributes in a block. Values are relative to the block."""
    if struct.unpack_from("<I", block)[0] != _XATTR_MAGIC:
        raise Ext4Error("has damaged extended attributes")
    return dict(_xattrs(block, 32, 0))


def _xattrs(raw: bytes, at: int, base: int) -> Iterator[tuple[str, bytes]]:
    while at + 4 <= len(raw) and raw[at : at + 4] != bytes(4):
        length, index, offset, inode, size = struct.unpack_from("<2BH2I", raw, at)
        name = os.fsdecode(raw[at + 16 : at + 16 + length])
        value = raw[base + offset : base + offset + size]
        at += (16 + length + 3) & ~3
        if inode or index not in _PREFIXES:
            raise Ext4Error(f"has an extended attribute of another kind ({index}, {name!r})")
        yield _PREFIXES[index] + name, _acl(value) if index in _ACLS else value


def _acl(value: bytes) -> bytes:
    """Return an ACL as the kernel's interface has it: there, each entry has the number of a user or group."""
    entries, at = [], 4
    while at < len(value):
        tag, permissions = struct.unpack_from("<2H", value, at)
        numbered = tag in _ACL_NUMBERED
        number = struct.unpack_from("<I", value, at + 4)[0] if numbered else _ACL_NO_NUMBER
        entries.append(struct.pack("<2HI", tag, permissions, number))
        at += 8 if numbered else 4
    return struct.pack("<I", 2) + b"".join(entries)


def _device(inode: Inode) -> int:
    old, new = struct.unpack_from("<2I", inode.block)
    if old:
        return os.makedev(old >> 8 & 0xFF, old & 0xFF)
    return os.makedev(new >> 8 & 0xFFF, (new & 0xFF) | (new >> 12 & 0xFFF00))


def _set_metadata(inode: Inode, target: Path) -> None:
    os.chown(target, inode.owner, inode.group, follow_symlinks=False)
    for name, value in inode.xattrs.items():
        os.setxattr(target, name, value, follow_symlinks=False)
    if not stat.S_ISLNK(inode.mode):
        # After the owner: the kernel removes set-user-id when that changes.
        target.chmod(stat.S_IMODE(inode.mode))
    os.utime(target, ns=(inode.modified, inode.modified), follow_symlinks=False)
