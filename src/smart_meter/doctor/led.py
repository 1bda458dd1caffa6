"""Judges the activity LED: what it shows now, and whether somebody keeps it up to date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smart_meter.config.small_file import read_small
from smart_meter.doctor.check import Check, ok, warning

LED = Path("/sys/class/leds/ACT")
RULE = Path("/etc/udev/rules.d/90-smart-meter-led.rules")
UNIT = "smart-meter-led.service"

STATES = {
    (): "steady: the values are fresh, and they are read",
    (1800, 200): "on with short gaps: the values are fresh, but nobody reads them",
    (1000, 1000): "blinks slowly: there are no fresh values",
    (1000, 300, 200, 1000): "a long and a short flash: somebody has to look at the card",
    (200, 200): "blinks quickly: the service does not run",
}
"""By the milliseconds for which templates/usr/local/sbin/smart-meter-led.j2 lets the LED be on and off."""


@dataclass(frozen=True, slots=True)
class Led:
    """The LED. trigger: the one in force. lit: whether it is on now. blinks: ms on and off of its pattern."""

    trigger: str
    lit: bool
    blinks: tuple[int, ...]


def collect(led: Path = LED, rule: Path = RULE) -> Led | None:
    """Return the LED; None if this machine has none, or does not show its health on it."""
    triggers = _text(led / "trigger").split()
    if not triggers or not rule.exists():
        return None
    chosen = [name.strip("[]") for name in triggers if name.startswith("[")]
    # Of four steps, the second and the fourth take no time: they keep the kernel from dimming.
    steps = _text(led / "pattern").split()[1::4]
    blinks = tuple(int(step) for step in steps if step.isascii() and step.isdigit())
    return Led(chosen[0] if chosen else "", _text(led / "brightness").strip() not in ("", "0"), blinks)


def judge(found: Led, *, running: bool) -> Check:
    """Judge the LED. running: whether the unit runs that sets it."""
    name, expected = "activity LED", "it shows the Pi's health"
    fix = "journalctl -u smart-meter-led shows why; sudo systemctl restart smart-meter-led"
    if not running:
        return warning(name, f"{UNIT} does not run", expected, fix)
    if found.trigger == "none" and found.lit:
        return ok(name, STATES[()], expected)
    if found.trigger == "pattern" and found.blinks and found.blinks in STATES:
        return ok(name, STATES[found.blinks], expected)
    what = f"set by something else, or by an older release: the trigger is {found.trigger!r}"
    return warning(name, what, expected, fix)


def _text(path: Path) -> str:
    try:
        return read_small(path).decode(errors="replace")
    except OSError:
        return ""
