"""The answer of a Pi's own doctor, judged before anything of it is shown, stored or counted.

A Pi that has been taken over may answer anything. One that can't be understood is a problem of that Pi; it
neither ends the run nor changes what is shown of the others. What is returned has printable characters only.
"""

from __future__ import annotations

import json
from typing import Any

from roles.preflight.rules.problem import printable

FIX_KEYS = {1: "mend", 2: "fix"}
"""By layout of the answer: the key that has the fix. Any other layout is not understood."""
LEVELS = ("ok", "unknown", "warning", "bad")
"""The levels of a check, the worst last."""

_MAX_SIZE = 256 * 1024
_MAX_CHECKS = 200
_MAX_EVENTS = 100
_MAX_TEXT = 500
_HEAD = ("host", "name", "release", "at")
_CHECK = ("name", "found", "expected")
_EVENT = ("last", "kind", "client", "meter", "text", "detail")


class AnswerError(ValueError):
    """The answer is not a doctor's report; the text explains why."""


def read_answer(output: str, name: str) -> dict[str, Any]:
    """Return the report in what `smart-meter doctor --json` printed; see `check_report`."""
    if len(output) > _MAX_SIZE:
        raise AnswerError(f"it has {len(output)} characters, and a report has {_MAX_SIZE} at most")
    try:
        data = json.loads(output)
    except (ValueError, RecursionError):
        raise AnswerError("it is not JSON") from None
    return check_report(data, name)


def check_report(data: object, name: str) -> dict[str, Any]:
    """Return a report in the present layout, with its texts printable and its level computed here.

    name: the Pi's in the inventory, for the fixes. Raises AnswerError.
    """
    if not isinstance(data, dict):
        raise AnswerError("it is not an object")
    layout = data.get("layout")
    if isinstance(layout, bool) or not isinstance(layout, int) or layout not in FIX_KEYS:
        raise AnswerError("its layout is unknown; update this controller, or provision the Pi")
    checks = [_check(each, FIX_KEYS[layout], name) for each in _list(data, "checks", _MAX_CHECKS)]
    if not checks:
        raise AnswerError("it has no checks")
    return {
        "layout": max(FIX_KEYS),
        **{key: _text(data, key) for key in _HEAD},
        "level": max((check["level"] for check in checks), key=LEVELS.index),
        "checks": checks,
        # An older release reports no events.
        "events": [_event(each) for each in _list(data, "events", _MAX_EVENTS)],
    }


def _check(check: object, fix: str, name: str) -> dict[str, str]:
    if not isinstance(check, dict) or not all(
        isinstance(check.get(key), str) for key in (*_CHECK, "level", fix)
    ):
        raise AnswerError("a check of it is malformed")
    # A level that this controller does not know is not good.
    level = check["level"] if check["level"] in LEVELS else "bad"
    fixed = {**check, fix: check[fix].replace("NAME-OF-THIS-PI", name)}
    return {**{key: _text(check, key) for key in _CHECK}, "level": level, "fix": _text(fixed, fix)}


def _event(event: object) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise AnswerError("an event of it is malformed")
    count = event.get("count")
    if isinstance(count, bool) or not isinstance(count, int):
        raise AnswerError("an event of it is malformed")
    return {**{key: _text(event, key) for key in _EVENT}, "count": count}


def _list(data: dict[str, Any], key: str, most: int) -> list[Any]:
    found = data.get(key, [])
    if not isinstance(found, list):
        raise AnswerError(f"its {key} are not a list")
    if len(found) > most:
        raise AnswerError(f"it has {len(found)} {key}, and a report has {most} at most")
    return found


def _text(record: dict[str, Any], key: str) -> str:
    """Return a text of a record, printable and not too long; "" if it has none."""
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AnswerError(f"its {key} is not text")
    shown = printable(value[: _MAX_TEXT + 1])
    return shown if len(shown) <= _MAX_TEXT else shown[: _MAX_TEXT - 1] + "…"
