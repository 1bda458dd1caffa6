"""Writes into a root file system what only an image has: the state's folders and the programs for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tools.image import within
from tools.image.settings import FOLDER, Settings
from tools.image.state import places

PROGRAMS = Path("usr/lib/smart-meter")
MARKER = PROGRAMS / "image"
"""The file that shows that a system is an image. It is on the read-only root."""
_KEYS = "smart-meter-keys.service"
# They look after packages and LVM, of which an image has none that change.
_UNUSED = (
    "timers.target.wants/apt-daily.timer",
    "timers.target.wants/apt-daily-upgrade.timer",
    "timers.target.wants/dpkg-db-backup.timer",
    "timers.target.wants/e2scrub_all.timer",
    "multi-user.target.wants/e2scrub_reap.service",
)


def install(root: Path, settings: Settings) -> None:
    """Copy the programs and units, and make the folders on which something is mounted.

    Raises BuildError if a link leads out of the root.
    """
    _copy(root, FOLDER / "files", root)
    _copy(root, FOLDER / "state", root / PROGRAMS / "state")
    wants = root / "usr/lib/systemd/system/ssh.service.wants"
    _make(root, wants)
    (wants / _KEYS).unlink(missing_ok=True)
    (wants / _KEYS).symlink_to(f"../{_KEYS}")
    for name in _UNUSED:
        within.entry(root, root / "etc/systemd/system" / name).unlink(missing_ok=True)
    for path in ("state", *(place.path.lstrip("/") for place in places.read())):
        _make(root, root / path)
    within.content(root, root / MARKER).write_text(
        json.dumps({"name": settings.name, "epoch": settings.epoch}) + "\n"
    )


def problems(root: Path) -> list[str]:
    """Return which places are not as places.txt describes them."""
    found = []
    for place in places.read():
        folder = root / place.path.lstrip("/")
        if not folder.is_dir() or folder.is_symlink():
            found.append(f"{place.path} is not a folder")
        elif place.kind == "own" and any(folder.iterdir()):
            found.append(f"{place.path} has files, which its mount would hide: make it a layer")
    return found


def _copy(root: Path, source: Path, target: Path) -> None:
    """Copy a folder into another one. The modes depend on no umask, and folders that exist keep theirs."""
    for path in sorted(path for path in source.rglob("*") if "__pycache__" not in path.parts):
        copied = target / path.relative_to(source)
        if path.is_dir():
            _make(root, copied)
        else:
            _make(root, copied.parent)
            within.content(root, copied)
            shutil.copyfile(path, copied)
            copied.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _make(root: Path, folder: Path) -> None:
    within.content(root, folder)
    if not folder.is_dir():
        _make(root, folder.parent)
        folder.mkdir()
        folder.chmod(0o755)
