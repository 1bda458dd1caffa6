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
from tools.image.process import BuildError
from tools.image.state import mbr

_XZ = b"\xfd7zXZ\0"
_CHUNK = 1024 * 1024


def compare(first: Path, second: Path) -> Iterator[str]:
    """Yield a line for each difference of two disks; none if they are equal byte by byte.

    Raises BuildError if one of them can't be read.
    """
    for path in (first, second):
        with path.open("rb") as file:
            if file.read(len(_XZ)) == _XZ:
                raise BuildError(f"{path} is compressed: unpack it first (unxz --keep {path})")
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
        if _equal(first, second, entry.offset, entry.size):
            continue
        if partition.is_empty:
            yield f"{partition.label}: the content differs, which should be empty"
        else:
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
            if problem := _unpack(partition, file, tree):
                raise BuildError(f"{path}: the partition {partition.label} can't be read: {problem}")
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


def _unpack(partition: disk.Partition, file: Path, tree: Path) -> str:
    """Unpack a file system into a folder; return what went wrong, or nothing."""
    if not partition.is_fat:
        printed = _run("debugfs", "-R", f"rdump / {tree}", str(file)).stderr.splitlines()
        # It prints its version first, and ends with 0 whatever happens. Only root can give files to others.
        return "; ".join(line for line in printed[1:] if "while changing ownership" not in line)
    # mcopy fails if there is nothing to copy.
    listed = _run("mdir", "-b", "-i", str(file), "::")
    if listed.returncode == 0 and listed.stdout.strip():
        listed = _run("mcopy", "-i", str(file), "-s", "-p", "-m", "-n", "::*", str(tree))
    return (listed.stderr.strip() or "no message") if listed.returncode else ""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path, "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, errors="replace", env=environment
    )
