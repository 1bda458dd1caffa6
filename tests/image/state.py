"""Reads and writes the state partition of a disk image, with debugfs and without a mount."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tools.image.disk import STATE
from tools.image.state import mbr, places

_CHUNK = 1024 * 1024


class File(NamedTuple):
    """A file for a layer of the state partition, and the owner and modes of the folders that it needs."""

    text: str
    mode: int = 0o644
    owner: int = 0
    folders: Mapping[str, int] = {}


def entry(disk: Path, number: int = STATE.number) -> mbr.Entry:
    """Return where a partition is."""
    return next(entry for entry in mbr.read(disk) if entry.number == number)


@contextmanager
def partition(disk: Path, number: int = STATE.number, *, write: bool = False) -> Iterator[Path]:
    """Yield a file with a partition's content; with `write`, what is changed there is written back."""
    found = entry(disk, number)
    file = disk.with_name(f"{disk.name}.{number}")
    _copy(disk, file, found.offset, 0, found.size)
    yield file
    if write:
        _copy(file, disk, 0, found.offset, found.size)
    file.unlink()


def put(disk: Path, files: Mapping[str, File]) -> None:
    """Write files into the layers of the state partition, as if an earlier boot had changed them."""
    listed = places.read()
    commands = []
    with partition(disk, write=True) as device:
        made: set[str] = set()
        for number, (path, file) in enumerate(files.items()):
            place = places.place_of(path, listed)
            assert place is not None
            assert place.kind == "layer"
            upper = f"/layers/{place.name}/upper"
            target = f"{upper}{path.removeprefix(place.path)}"
            for folder in reversed(PurePosixPath(target).parents):
                name = str(folder)
                if name == "/" or name in made:
                    continue
                made.add(name)
                mode = file.folders.get(place.path + name.removeprefix(upper), 0o755)
                owner = file.owner if name.startswith(f"{upper}/") else 0
                commands += [f"mkdir {name}", *_inode(name, 0o040000 | mode, owner)]
            source = device.with_name(f"source{number}")
            source.write_text(file.text)
            commands += [f"write {source} {target}", *_inode(target, 0o100000 | file.mode, file.owner)]
        script = device.with_name("debugfs")
        script.write_text("".join(f"{command}\n" for command in commands))
        subprocess.run(["/usr/sbin/debugfs", "-w", "-f", script, device], check=True, capture_output=True)
        done = subprocess.run(
            ["/usr/sbin/e2fsck", "-fn", device], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def _inode(path: str, mode: int, owner: int) -> list[str]:
    fields = {"mode": f"0{mode:o}", "uid": owner, "gid": owner}
    return [f"set_inode_field {path} {field} {value}" for field, value in fields.items()]


def _copy(source: Path, target: Path, start: int, at: int, size: int) -> None:
    """Copy a part of a file into another one; zeros at the end of a new file become a hole."""
    target.touch()
    with source.open("rb") as reading, target.open("r+b") as writing:
        new = target.stat().st_size == 0
        reading.seek(start)
        for place in range(0, size, _CHUNK):
            content = reading.read(min(_CHUNK, size - place))
            if not new or content.strip(b"\0"):
                writing.seek(at + place)
                writing.write(content)
        if new:
            writing.truncate(size)
