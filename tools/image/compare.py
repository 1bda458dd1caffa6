"""Compares two images, and names each file that differs."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.image import disk, mbr

_CHUNK = 4 * 1024 * 1024


def compare(first: Path, second: Path) -> Iterator[str]:
    """Yield a line for each difference of two disks; none if they are equal byte by byte."""
    tables = [mbr.read(first), mbr.read(second)]
    if tables[0] != tables[1]:
        yield "the partition tables differ"
        return
    if mbr.signature(first) != mbr.signature(second):
        yield "the disk signatures differ: the builds had other inputs"
    before = [_digest(path, 0, tables[0][0].offset) for path in (first, second)]
    if before[0] != before[1]:
        yield "the sectors before the first partition differ"
    for partition in disk.PARTITIONS:
        [entry] = [entry for entry in tables[0] if entry.number == partition.number]
        if _digest(first, entry.offset, entry.size) != _digest(second, entry.offset, entry.size):
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


def _digest(path: Path, offset: int, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        while size > 0 and (chunk := file.read(min(size, _CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()


def _cut(path: Path, entry: mbr.Entry, file: Path) -> None:
    with path.open("rb") as source, file.open("wb") as target:
        source.seek(entry.offset)
        left = entry.size
        while left > 0 and (chunk := source.read(min(left, _CHUNK))):
            target.write(chunk)
            left -= len(chunk)


def _unpack(partition: disk.Partition, file: Path, tree: Path) -> None:
    if partition.is_fat:
        command = ["mcopy", "-i", str(file), "-s", "-p", "-m", "-n", "::*", str(tree)]
    else:
        command = ["debugfs", "-R", f"rdump / {tree}", str(file)]
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    subprocess.run(command, check=False, capture_output=True, env={**os.environ, "PATH": path, "TZ": "UTC"})
