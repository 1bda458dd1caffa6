"""Compares two images, and names each file that differs."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from tools.image import disk
from tools.image.state import mbr

_CHUNK = 1024 * 1024


def compare(first: Path, second: Path) -> Iterator[str]:
    """Yield a line for each difference of two disks; none if they are equal byte by byte."""
    tables = [mbr.read(first), mbr.read(second)]
    if tables[0] != tables[1]:
        yield "the partition tables differ"
        return
    if mbr.signature(first) != mbr.signature(second):
        yield "the disk signatures differ: the builds had other inputs"
    if not _equal(first, second, 0, tables[0][0].offset):
        yield "the sectors before the first partition differ"
    for partition in disk.PARTITIONS:
        [entry] = [entry for entry in tables[0] if entry.number == partition.number]
        if not _equal(first, second, entry.offset, entry.size):
            yield from _compare_partition(partition, entry, first, second)


def _compare_partition(
    partition: disk.Partition, entry: mbr.Entry, first: Path, second: Path
) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        trees = []
        for number, path in enumerate((first, second)):
            file, tree = Path(folder) / f"{number}.img", Path(folder) / str(number)
            tree.mkdir()
            _cut(path, entry, file)
            _unpack(partition, file, tree)
            file.unlink()
            trees.append(tree)
        differences = list(compare_trees(*trees))
    yield from (f"{partition.label}: {difference}" for difference in differences)
    if not differences:
        yield f"{partition.label}: the same files, in file systems that differ"


def compare_trees(first: Path, second: Path) -> Iterator[str]:
    """Yield a line for each path whose content, mode, owner or time differs."""
    names = {str(path.relative_to(tree)) for tree in (first, second) for path in tree.rglob("*")}
    for name in sorted(names):
        described = [_describe(tree / name) for tree in (first, second)]
        if described[0] != described[1]:
            what = [key for key in described[0] if described[0][key] != described[1][key]]
            yield f"/{name}: {', '.join(what)}"


def _describe(path: Path) -> dict[str, object]:
    if not os.path.lexists(path):
        return dict.fromkeys(("existence", "mode", "owner", "time", "content"))
    status = path.lstat()
    content: object = None
    if path.is_symlink():
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "existence": True,
        "mode": status.st_mode,
        "owner": (status.st_uid, status.st_gid),
        # A folder's time is that of the unpacking.
        "time": None if path.is_dir() or path.is_symlink() else int(status.st_mtime),
        "content": content,
    }


def _equal(first: Path, second: Path, offset: int, size: int) -> bool:
    chunks = (_content(path, offset, size) for path in (first, second))
    return all(one == other for one, other in zip_longest(*chunks))


def _content(path: Path, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield each chunk that is not all zeros, with its position. Holes of the file are skipped unread."""
    end = offset + size
    position = offset
    with path.open("rb") as file:
        while position < end:
            try:
                data = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:  # There is only a hole behind it.
                return
            # Both files are cut at the same positions, however their holes are.
            position = max(position, data - (data - offset) % _CHUNK)
            chunk = os.pread(file.fileno(), max(0, min(_CHUNK, end - position)), position)
            if chunk.strip(b"\0"):
                yield position - offset, chunk
            position += _CHUNK


def _cut(path: Path, entry: mbr.Entry, file: Path) -> None:
    with file.open("wb") as target:
        target.truncate(entry.size)
        for position, chunk in _content(path, entry.offset, entry.size):
            target.seek(position)
            target.write(chunk)


def _unpack(partition: disk.Partition, file: Path, tree: Path) -> None:
    if partition.is_fat:
        command = ["mcopy", "-i", str(file), "-s", "-p", "-m", "-n", "::*", str(tree)]
    else:
        command = ["debugfs", "-R", f"rdump / {tree}", str(file)]
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    subprocess.run(command, check=False, capture_output=True, env={**os.environ, "PATH": path, "TZ": "UTC"})
