"""Mounts the places of places.txt from a folder of the state partition."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from .places import Place

SECONDS = 120.0
"""The time that a mount may take."""
_PROGRAM = "/bin/mount"
_MEMORY = "size=64m,nosuid,nodev"


def mount(*arguments: str) -> None:
    """Call mount(8). Raises OSError with its message."""
    try:
        done = subprocess.run(
            [_PROGRAM, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"mount {arguments[-1]}: it did not end within {SECONDS:g} s") from None
    if done.returncode:
        raise OSError(f"mount {arguments[-1]}: {done.stderr.strip() or 'no message'}")


def command(place: Place, state: Path) -> list[str]:
    """Return the arguments of mount(8) for a place. state: where the state partition is mounted."""
    if place.kind == "layer":
        upper, work = (state / "layers" / place.name / part for part in ("upper", "work"))
        options = f"lowerdir={place.path},upperdir={upper},workdir={work}"
        return ["-t", "overlay", "-o", options, place.name, place.path]
    if place.kind == "own":
        return ["--bind", str(state / "own" / place.name), place.path]
    mode = f"{(Path(place.path).stat().st_mode & 0o7777):o}"
    return ["-t", "tmpfs", "-o", f"mode={mode},{_MEMORY}", place.name, place.path]


def prepare(place: Place, state: Path, root: Path = Path("/")) -> None:
    """Make the folders that a place lacks on the state partition. Raises OSError.

    They get the mode and the owner of the image's own folder.
    """
    source = root / place.path.lstrip("/")
    if place.kind == "layer":
        folder = state / "layers" / place.name
        _make(folder / "upper", source)
        # The kernel empties it at each mount.
        (folder / "work").mkdir(parents=True, exist_ok=True)
    elif place.kind == "own":
        _make(state / "own" / place.name, source)


def mount_all(
    places: Iterable[Place],
    state: Path,
    memory: Path,
    problem: Callable[[str], None],
    call: Callable[..., None] = mount,
) -> None:
    """Mount every place from the state partition. One that can't be is kept below `memory`, and reported."""
    for place in places:
        for folder in (state, memory):
            try:
                prepare(place, folder)
                call(*command(place, folder))
            except OSError as error:
                where = "read-only" if folder is memory else "kept in memory until the next restart"
                problem(f"{place.path} is {where}: {error}")
            else:
                break


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
