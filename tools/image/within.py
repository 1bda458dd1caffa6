"""Keeps what the build itself writes and removes inside of a root file system.

A link in a root leads to this machine's files when it is followed outside of a build space.
"""

from __future__ import annotations

from pathlib import Path

from tools.image.process import BuildError


def entry(root: Path, path: Path) -> Path:
    """Return a path that is made or removed. Raises BuildError if its folder is outside of the root."""
    _require(root, path, path.parent.resolve())
    return path


def content(root: Path, path: Path) -> Path:
    """Return a file or folder whose content is changed. Raises BuildError if it is outside of the root."""
    _require(root, path, path.resolve())
    return path


def _require(root: Path, path: Path, resolved: Path) -> None:
    if not resolved.is_relative_to(root.resolve()):
        raise BuildError(
            f"{path.relative_to(root)} leads outside of the root file system, to {resolved}: "
            "its folder must not be a link to there"
        )
