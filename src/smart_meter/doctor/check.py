"""One check: what was found, what was expected, and how to fix it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

PROGRAM = "smart-meter"
AS_ROOT = f"sudo {PROGRAM} doctor shows it"
PROVISION = "from the controller: make provision LIMIT=NAME-OF-THIS-PI"


class Level(enum.Enum):
    """The severity of a finding, in ascending order."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It could not be determined on this machine, or not by this user."""
    WARNING = "warning"
    """It works, but somebody should look at it."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """A finding and its level."""

    name: str
    found: str
    expected: str
    level: Level
    fix: str = ""
    """A command for the Pi, or what to look at; empty if there is nothing to fix."""


def ok(name: str, found: str, expected: str) -> Check:
    """Return a check that passed."""
    return Check(name, found, expected, Level.OK)


def unknown(name: str, found: str, expected: str, fix: str = "") -> Check:
    """Return a check that could not be made."""
    return Check(name, found, expected, Level.UNKNOWN, fix)


def warning(name: str, found: str, expected: str, fix: str) -> Check:
    """Return a check that works but needs attention."""
    return Check(name, found, expected, Level.WARNING, fix)


def bad(name: str, found: str, expected: str, fix: str) -> Check:
    """Return a check that failed."""
    return Check(name, found, expected, Level.BAD, fix)


def worst(checks: Iterable[Check]) -> Level:
    """Return the worst level; OK if there are no checks."""
    levels = list(Level)
    return max((check.level for check in checks), key=levels.index, default=Level.OK)


def span(seconds: float) -> str:
    """Format seconds for people: `0 s`, `59 s`, `12 min`, `3 h`, `4 days`."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172800:
        return f"{whole // 3600} h"
    return f"{whole // 86400} days"


def size(count: float) -> str:
    """Format a number of bytes for people: `12 MB`, `3.4 GB`."""
    if count < 1e9:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB" if count < 1e12 else f"{count / 1e12:.1f} TB"
