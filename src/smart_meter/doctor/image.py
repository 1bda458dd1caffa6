"""Judges what only an image has: the partition with everything that changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from smart_meter.config.small_file import read_small
from smart_meter.doctor.check import Check, bad, ok, warning
from smart_meter.site_card.target import IMAGE_REPORT

MARKER = Path("/usr/lib/smart-meter/image")
REPORT = Path(IMAGE_REPORT)
STATE = "/state"
_RELEASED = 1_780_000_000  # Unix time, before the first image


def is_image(marker: Path = MARKER) -> bool:
    """Return whether this system is an image, with a read-only root file system."""
    return marker.is_file()


def report(file: Path = REPORT) -> Mapping[str, Any] | None:
    """Return what the initrd has reported of this start; None if there is no valid report."""
    try:
        found = json.loads(read_small(file))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def judge_state(found: Mapping[str, Any] | None) -> Check:
    """Judge where this start keeps what changes. found: the report of the initrd."""
    name, expected = "state partition", "whole, and in use"
    if found is None or found.get("kind") not in {"state", "spare", "memory"}:
        return bad(name, "the initrd has left no report", expected, "flash the card again, or replace it")
    kind, device, why = (str(found.get(key, "")) for key in ("kind", "device", "why"))
    replace = "replace the card: flash another one with this site's card"
    if kind == "memory":
        what = f"not in use ({why}): all changes and samples are lost at the next restart"
        return bad(name, what, expected, replace)
    if kind == "spare":
        what = f"set aside {_when(found.get('set_aside'))}({why}); the spare partition {device} replaces it"
        fix = f"its data may be recovered from the card (partition 8 is left as it was); {replace}"
        return warning(name, what, expected, fix)
    if problems := found.get("problems"):
        return warning(name, "; ".join(map(str, problems)), expected, "journalctl -b -t smart-meter-state")
    repaired = ", repaired at this start" if found.get("repaired") else ""
    return ok(name, f"{device}{repaired}", expected)


def _when(seconds: object) -> str:
    # A Pi without a clock of its own may have had none yet.
    if not isinstance(seconds, int | float) or not _RELEASED <= seconds < 2**33:
        return ""
    return f"on {datetime.fromtimestamp(seconds, UTC).date().isoformat()} "
