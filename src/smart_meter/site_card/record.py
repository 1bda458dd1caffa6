"""What the Pi keeps about the card that it applied last, on its state partition; root only may read it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from smart_meter.config.small_file import read_small
from smart_meter.site_card.card import PASSPHRASE
from smart_meter.site_card.keyfile import passphrase_of
from smart_meter.site_card.places import BY_KEY, PROFILES

PATH = "/var/lib/smart-meter-card/applied.json"
LAYOUT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """The card that was applied last.

    identity: as card.identity returns it; empty if any card has to be applied. applied: when, in Unix seconds
    of the Pi's clock. salt, secrets: by name, the salted SHA-256 of the secrets that it came with, or that
    an earlier card did. files: by path, the SHA-256 of each file as the card wrote it. lacking: the secrets
    that neither the card nor the Pi had.
    """

    host: str
    identity: str
    applied: float
    salt: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    lacking: Sequence[str] = ()

    def has(self, name: str, secret: str) -> bool:
        """Whether a secret is the one that was applied."""
        return hmac.compare_digest(self.secrets.get(name, ""), digest(self.salt, secret))

    def text(self) -> str:
        """Return it as the file has it."""
        return json.dumps({"layout": LAYOUT, **asdict(self)}, indent=1, sort_keys=True) + "\n"


def still_lacking(record: Record, root: Path) -> list[str]:
    """Return the secrets that the Pi still lacks: `make provision` may have written a profile with one."""
    return [name for name in record.lacking if name != PASSPHRASE or not _has_passphrase(root)]


def _has_passphrase(root: Path) -> bool:
    for key in PROFILES.values():
        try:
            content = read_small(root / BY_KEY[key].path.lstrip("/"), follow=False)
        except OSError:
            continue
        if passphrase_of(content.decode(errors="replace")):
            return True
    return False


def digest(salt: str, secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(f"{salt}\0{secret}".encode()).hexdigest()


def load(root: Path) -> Record | None:
    """Return the record; None if no card was applied, or it can't be read: then the card is applied again."""
    try:
        data = json.loads(read_small(root / PATH.lstrip("/"), follow=False))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or data.pop("layout", None) != LAYOUT:
        return None
    return _record(data)


def _record(data: dict[str, Any]) -> Record | None:
    try:
        record = Record(**data)
    except TypeError:
        return None
    texts: list[object] = [record.host, record.salt, record.identity]
    for each in (data.get("secrets", {}), data.get("files", {})):
        if not isinstance(each, dict):
            return None
        texts += each.values()
    if not isinstance(data.get("lacking", []), list):
        return None
    texts += data.get("lacking", [])
    is_good = all(isinstance(text, str) for text in texts) and isinstance(data["applied"], int | float)
    return record if is_good else None
