"""Judges the activity LED: what it shows now, and whether somebody keeps it up to date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smart_meter.config.small_file import read_small
from smart_meter.doctor.check import Check, ok, warning

SHOWN = Path("/run/smart-meter-led/shown")
RULE = Path("/etc/udev/rules.d/90-smart-meter-led.rules")
LED = Path("/sys/class/leds/ACT")

_STEADY, _BLINKS = "none", "pattern"
STATES = {
    "good": (_STEADY, "steady: the values are fresh, and they are read"),
    "unread": (_BLINKS, "on with short gaps: the values are fresh, but nobody reads them"),
    "stale": (_BLINKS, "blinks slowly: there are no fresh values"),
    "card": (_BLINKS, "a long and a short flash: somebody has to look at the card"),
    "down": (_BLINKS, "blinks quickly: the service does not run"),
    "unknown": ("heartbeat", "heartbeat: an older release runs, which does not state its health"),
}
"""By the word of templates/usr/local/sbin/smart-meter-led.j2: the kernel's trigger, and what it means."""


@dataclass(frozen=True, slots=True)
class Led:
    """The LED. trigger: the one in force. shown: the state that was set last; empty if nothing sets it.

    wanted: whether the Pi is set up to show its health on it.
    """

    trigger: str
    shown: str
    wanted: bool


def collect(led: Path = LED, shown: Path = SHOWN, rule: Path = RULE) -> Led | None:
    """Return the LED; None if this machine has none."""
    try:
        triggers = read_small(led / "trigger").decode(errors="replace")
    except OSError:
        return None
    chosen = [name.strip("[]") for name in triggers.split() if name.startswith("[")]
    return Led(chosen[0] if chosen else "", _text(shown), rule.exists())


def judge(found: Led | None) -> Check | None:
    """Judge the LED; None if there is none, or it does not show the Pi's health."""
    if found is None or not (found.wanted or found.shown):
        return None
    name, expected = "activity LED", "it shows the Pi's health"
    if found.shown not in STATES:
        fix = "journalctl -u smart-meter-led shows why; sudo systemctl restart smart-meter-led"
        return warning(name, f"nothing sets it; the kernel's own trigger is {found.trigger!r}", expected, fix)
    trigger, meaning = STATES[found.shown]
    if found.trigger != trigger:
        fix = "sudo systemctl restart smart-meter-led"
        return warning(name, f"something else sets it, with the trigger {found.trigger!r}", expected, fix)
    return ok(name, meaning, expected)


def _text(path: Path) -> str:
    try:
        return read_small(path, follow=False).decode(errors="replace").strip()
    except OSError:
        return ""
