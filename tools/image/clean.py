"""Removes from a root file system what a build leaves behind, before `seal` checks it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tools.image import within

# Folders that stay, empty.
_EMPTIED = ("tmp", "var/tmp", "run", "dev", "proc", "sys", "var/cache/apt", "var/lib/apt/lists")
_REMOVED = (
    "etc/ssh/ssh_host_*",
    "etc/resolv.conf",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/**/*.dpkg-*",
    # Backups that shadow-utils writes, with the time of the build.
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "root/.ansible",
    "root/.cache",
    "usr/sbin/policy-rc.d",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
)


def clean(root: Path) -> None:
    """Remove keys, logs, package lists and other traces of the build; the configuration stays.

    Raises BuildError if a link leads out of the root.
    """
    for name in _EMPTIED:
        folder = within.content(root, root / name)
        for path in folder.iterdir() if folder.is_dir() else []:
            _remove(root, path)
    for pattern in _REMOVED:
        for path in list(root.glob(pattern)):
            _remove(root, path)
    for path in within.content(root, root / "var/log").rglob("*"):
        # The folders belong to packages.
        if path.is_symlink() or not path.is_dir():
            within.entry(root, path).unlink()
    # systemd fills an empty file at the first boot. Without a file, it would reset which units are enabled.
    within.content(root, root / "etc/machine-id").write_bytes(b"")
    # systemd-tmpfiles can't make it in a root that is read-only.
    if (root / "var/lib/dbus").is_dir():
        within.entry(root, root / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")
    # Users, linker cache and journal catalog are up to date: the first boot need not make them again.
    for name in ("etc/.updated", "var/.updated"):
        within.content(root, root / name).write_bytes(b"")


def set_times(root: Path, epoch: int) -> None:
    """Give everything that is newer than `epoch` (Unix seconds) that time."""
    for path in [root, *root.rglob("*")]:
        if path.lstat().st_mtime > epoch:
            os.utime(path, (epoch, epoch), follow_symlinks=False)


def _remove(root: Path, path: Path) -> None:
    within.entry(root, path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
