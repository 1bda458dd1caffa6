"""Judges the site card: which came last, the card or the inventory, and what lies on the boot partition.

The Pi's record has the digest of each file as the card wrote it. A file that differs was written after the
card, so the playbooks need not leave a trace.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from smart_meter.config.small_file import read_small
from smart_meter.config.toml_table import show
from smart_meter.doctor.check import AS_ROOT, Check, ok, unknown, warning
from smart_meter.site_card import record
from smart_meter.site_card.apply import LACKING
from smart_meter.site_card.boot_partition import ANSWER, is_full, misnamed
from smart_meter.site_card.card import MAX_BYTES, NAME, CardError, identity, read
from smart_meter.site_card.record import Record

_NAME = "site card"
_EXPECTED = "applied, and without its secrets"
_SHOWN = 3
_UNIT = "etc/systemd/system/smart-meter-site-card.service"


@dataclass(frozen=True, slots=True)
class SiteCard:
    """The card that was applied last, and the one on the boot partition.

    applied: None if none was. present: by path, the SHA-256 of the files in the record, as they are now.
    identity: that of the card on the boot partition; empty if it can't be read, None if there is none.
    takes_cards: whether the Pi applies cards at boot.
    secrets: the names of the secrets that it still has. misnamed: files that may be cards and are not read.
    is_full: whether the boot partition has no room for a card. lacking: the secrets that the Pi still lacks.
    """

    applied: Record | None
    present: Mapping[str, str]
    identity: str | None = None
    secrets: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()
    is_full: bool = False
    lacking: tuple[str, ...] = ()
    takes_cards: bool = True


def collect(folder: Path = Path("/boot/firmware"), root: Path = Path("/")) -> SiteCard | None:
    """Return what is known of site cards; None if this user may not read it."""
    state = (root / record.PATH.lstrip("/")).parent
    if state.exists() and not os.access(state, os.R_OK | os.X_OK):
        return None
    applied = record.load(root)
    present = {}
    for path in () if applied is None else applied.files:
        try:
            content = read_small(root / path.lstrip("/"), follow=False)
        except OSError:
            continue
        present[path] = hashlib.sha256(content).hexdigest()
    lacking = () if applied is None else tuple(record.still_lacking(applied, root))
    found = SiteCard(
        applied,
        present,
        misnamed=tuple(misnamed(folder)),
        is_full=is_full(folder),
        lacking=lacking,
        takes_cards=(root / _UNIT).exists(),
    )
    try:
        card = read(read_small(folder / NAME, MAX_BYTES, follow=False))
    except PermissionError:
        return None
    except FileNotFoundError:
        return found
    except (OSError, CardError):
        return replace(found, identity="")
    return replace(found, identity=identity(card), secrets=tuple(card.secrets))


def judge(found: SiteCard | None) -> Check | None:
    """Judge the site card; None if this Pi has none and never had one, or takes none."""
    if found is None:
        return unknown(_NAME, "only root may read which was applied", _EXPECTED, AS_ROOT)
    applied = found.applied
    if applied is None and not (found.takes_cards and (found.identity is not None or found.misnamed)):
        return None
    if found.identity is not None and (applied is None or found.identity != applied.identity):
        fix = f"{ANSWER} beside it has the reason, if it was refused; otherwise restart the Pi: sudo reboot"
        return warning(
            _NAME, f"{NAME} on the boot partition is not applied; {_last(applied, found)}", _EXPECTED, fix
        )
    if found.secrets:
        fix = (
            "sudo reboot removes them; if it does not, the boot partition can't be written: replace the card"
        )
        return warning(
            _NAME,
            f"{NAME} on the boot partition still has secrets: {', '.join(found.secrets)}",
            _EXPECTED,
            fix,
        )
    if found.misnamed:
        more = f" and {len(found.misnamed) - _SHOWN} more" if len(found.misnamed) > _SHOWN else ""
        names = ", ".join(show(name) for name in found.misnamed[:_SHOWN]) + more
        fix = f"rename it to {NAME} and restart the Pi, or delete it: it may have secrets"
        return warning(
            _NAME, f"{names} on the boot partition is not read; {_last(applied, found)}", _EXPECTED, fix
        )
    if found.is_full:
        return warning(
            _NAME,
            f"the boot partition is full; {_last(applied, found)}",
            _EXPECTED,
            "delete what does not belong there: the answer to the next card needs room",
        )
    if found.lacking:
        fix = "from the controller: make site-card HOST=NAME; copy it to the boot partition, restart the Pi"
        lacking = "; ".join(f"{name}: {LACKING[name]}" for name in found.lacking if name in LACKING)
        return warning(_NAME, f"{_last(applied, found)}; {lacking}", _EXPECTED, fix)
    return ok(_NAME, _last(applied, found), _EXPECTED)


def _last(applied: Record | None, found: SiteCard) -> str:
    """Return which came last."""
    if applied is None:
        return "none was applied"
    when = _when(applied.applied)
    changed = [path for path, digest in applied.files.items() if found.present.get(path) != digest]
    if not changed:
        return f"last was the card of {applied.host}, {when}"
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    paths = ", ".join(changed[:_SHOWN]) + more
    since = f"changed since the card of {applied.host}, {when}"
    return f"last was the inventory, or somebody on the Pi: {paths} {since}"


def _when(seconds: float) -> str:
    """Return a time of the Pi's clock, which was not synchronised yet."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
