"""The report of a Pi's own doctor, as the controller keeps and shows it. Pure.

A Pi may be damaged, or under someone else's control. So its report is checked here, wherever it is used: what
has the wrong shape is refused as a whole, unprintable characters are escaped, long texts are truncated, and
the overall level is calculated from the checks. Fields that this release does not know are dropped.
"""

from __future__ import annotations

import json
from typing import Any

from roles.preflight.look.reading import clean
from roles.preflight.rules.problem import show

LAYOUT = 2
"""The layout of what `read_report` returns: that of this release's `smart-meter doctor --json`."""
FIX_KEYS = {1: "mend", LAYOUT: "fix"}
"""By layout of the answer: the key that has the fix."""
LEVELS = ("bad", "warning", "unknown", "ok")
"""The worst first."""
MAX_ANSWER = 512 * 1024
MAX_CHECKS = 500
MAX_EVENTS = 100
MAX_TEXT = 500
_THIS_PI = "NAME-OF-THIS-PI"
_EVENT_TEXTS = ("first", "last", "kind", "client", "meter", "text", "detail")
_MAX_COUNT = 2**63


class ReportError(ValueError):
    """An answer that is not a report; the message completes the sentence "NAME ...".

    newer: it has a layout that only a newer controller understands.
    """

    def __init__(self, reason: str, *, newer: bool = False) -> None:
        super().__init__(reason)
        self.newer = newer


def read_report(output: str, name: str) -> dict[str, Any]:
    """Return the report that `smart-meter doctor --json` printed. name: the Pi's in the inventory.

    layout, host, name, release, at, level, checks (name, found, expected, level, fix), and events (first,
    last, kind, client, meter, text, detail, count). Raises ReportError.
    """
    if len(output) > MAX_ANSWER:
        raise _no_report(f"it has {len(output)} characters, and at most {MAX_ANSWER} are read")
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        raise _no_report(f"it is not JSON: {show(output)}") from None
    return check_report(answer, name)


def check_report(answer: object, name: str) -> dict[str, Any]:
    """Return the report of a JSON value, in this release's layout. Raises ReportError."""
    if not isinstance(answer, dict):
        raise _no_report("it is not an object")
    layout = answer.get("layout")
    if not isinstance(layout, int) or isinstance(layout, bool) or layout < 1:
        raise _no_report(f"its layout is {show(layout)}")
    if layout not in FIX_KEYS:
        raise ReportError(
            f"reports in layout {show(layout)}, which this controller does not know; update this clone",
            newer=True,
        )
    checks = [_check(entry, FIX_KEYS[layout], name) for entry in _list(answer, "checks", MAX_CHECKS)]
    names = [check["name"] for check in checks]
    if not checks:
        raise _no_report("it has no checks")
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise _no_report(f"two checks are named {show(twice)}")
    levels = {check["level"] for check in checks}
    return {
        "layout": LAYOUT,
        **{key: _text(answer, key, required=False) for key in ("host", "name", "release", "at")},
        # A Pi's own sum is not used.
        "level": next(level for level in LEVELS if level in levels),
        "checks": checks,
        "events": [_event(entry) for entry in _list(answer, "events", MAX_EVENTS, required=False)],
    }


def _no_report(reason: str) -> ReportError:
    return ReportError(f"answers with something that is not a report: {reason}")


def _list(answer: dict[str, Any], key: str, limit: int, *, required: bool = True) -> list[dict[str, Any]]:
    found = answer.get(key, None if required else [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _no_report(f"{key} is not a list of objects")
    if len(found) > limit:
        raise _no_report(f"it has {len(found)} {key}, and at most {limit} are read")
    return found


def _text(entry: dict[str, Any], key: str, *, required: bool = True) -> str:
    value = entry.get(key, None if required else "")
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise _no_report(f"{key} is {show(value)}, which is not a text")
    return clean(value, MAX_TEXT)


def _check(entry: dict[str, Any], fix: str, name: str) -> dict[str, str]:
    level = _text(entry, "level")
    if level not in LEVELS:
        # A level that this controller does not know is not good.
        level = "bad"
    found = {key: _text(entry, key) for key in ("name", "found", "expected")}
    if not found["name"].strip():
        raise _no_report("a check has no name")
    return {**found, "level": level, "fix": _text(entry, fix, required=False).replace(_THIS_PI, name)}


def _event(entry: dict[str, Any]) -> dict[str, Any]:
    count = entry.get("count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < _MAX_COUNT:
        raise _no_report(f"count is {show(count)}, which is not a number of events")
    return {**{key: _text(entry, key, required=False) for key in _EVENT_TEXTS}, "count": count}
