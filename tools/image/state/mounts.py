"""Mounts the places of places.txt from a folder of the state partition."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from .places import Place

_MEMORY = "size=64m,nosuid,nodev"


def mount(*arguments: str) -> None:
    """Call mount(8). Raises OSError with its message."""
    done = subprocess.run(["/bin/mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"mount {arguments[-1]}: {done.stderr.strip() or 'no message'}")


def commands(places: Iterable[Place], state: Path) -> Iterable[list[str]]:
    """Yield mount(8)'s arguments for each place, in their order. state: where the partition is mounted."""
    for place in places:
        if place.kind == "layer":
            upper, work = (state / "layers" / place.name / part for part in ("upper", "work"))
            options = f"lowerdir={place.path},upperdir={upper},workdir={work}"
            yield ["-t", "overlay", "-o", options, place.name, place.path]
        elif place.kind == "own":
            yield ["--bind", str(state / "own" / place.name), place.path]
        else:
            mode = f"{(Path(place.path).stat().st_mode & 0o7777):o}"
            yield ["-t", "tmpfs", "-o", f"mode={mode},{_MEMORY}", place.name, place.path]


def prepare(places: Iterable[Place], state: Path, root: Path = Path("/")) -> None:
    """Make the folders that are missing on a state partition, with the mode and owner of the image's own."""
    for place in places:
        source = root / place.path.lstrip("/")
        if place.kind == "layer":
            folder = state / "layers" / place.name
            _make(folder / "upper", source)
            # The kernel empties it at each mount.
            (folder / "work").mkdir(parents=True, exist_ok=True)
        elif place.kind == "own":
            _make(state / "own" / place.name, source)


def mount_all(
    places: list[Place], state: Path, problem: Callable[[str], None], call: Callable[..., None] = mount
) -> None:
    """Mount every place. One that can't be mounted is reported, and does not stop the others."""
    for arguments in commands(places, state):
        try:
            call(*arguments)
        except OSError as error:
            problem(str(error))


def _make(folder: Path, source: Path) -> None:
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # It gets its name when it has its owner and mode, so an interrupted call is repeated as a whole.
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    of = source.stat()
    os.chown(new, of.st_uid, of.st_gid)
    new.chmod(of.st_mode & 0o7777)
    new.rename(folder)
