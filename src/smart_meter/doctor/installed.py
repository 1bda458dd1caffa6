"""Compares an installed release with the hashes that were recorded when it was installed. Changes nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

MARK = ".complete"
"""The recorded hashes, as sha256sum prints them; written last of all."""


def damage(release: Path) -> str | None:
    """Return what is wrong with a release's files, "" where nothing is, None where nothing was recorded."""
    try:
        recorded = (release / MARK).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return f"{MARK} is missing: it was not installed to its end"
    except (OSError, UnicodeDecodeError):
        return None
    if not recorded:
        return None
    wrong = [name for line in recorded if not _as_recorded(release, line, name := line[66:])]
    if not wrong:
        return ""
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"{wrong[0].removeprefix('./')}{more} not as installed"


def _as_recorded(release: Path, line: str, name: str) -> bool:
    try:
        return hashlib.sha256((release / name).read_bytes()).hexdigest() == line[:64]
    except OSError:
        return False
