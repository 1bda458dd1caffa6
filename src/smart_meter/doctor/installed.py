"""Compares an installed release with the hashes that were recorded when it was installed. Changes nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

MARK = ".complete"
"""The file of recorded hashes, in sha256sum's format; the installation writes it last."""


def damage(release: Path) -> str | None:
    """Return what is wrong with a release's files: "" if nothing, None if no hashes were recorded."""
    try:
        recorded = (release / MARK).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return f"{MARK} is missing: the installation did not finish"
    except (OSError, UnicodeDecodeError):
        return None
    if not recorded:
        return None
    wrong = [name for line in recorded if not _as_recorded(release, line, name := line[66:])]
    if not wrong:
        return ""
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"{wrong[0].removeprefix('./')}{more} changed since the installation"


def _as_recorded(release: Path, line: str, name: str) -> bool:
    try:
        return hashlib.sha256((release / name).read_bytes()).hexdigest() == line[:64]
    except OSError:
        return False
