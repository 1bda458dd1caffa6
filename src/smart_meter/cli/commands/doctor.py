"""`smart-meter doctor`: checks this Pi and prints how to fix what is wrong."""

from __future__ import annotations

import argparse
import json
import socket
import time
from pathlib import Path
from typing import Any

from smart_meter import __version__
from smart_meter.doctor.check import Check, Level, worst
from smart_meter.doctor.examine import Examined, examine
from smart_meter.meters.sample import iso_time

LAYOUT = 2
"""Version of the JSON object; changes with the name or meaning of a key. In layout 1, `fix` was `mend`."""
_MARKS = {Level.OK: "ok", Level.UNKNOWN: "?", Level.WARNING: "WARN", Level.BAD: "BAD"}


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if no check is bad, 1 if one is, 2 if the configuration is not valid."""
    found = examine(Path(arguments.config), Path(arguments.runtime))
    if arguments.json:
        print(json.dumps(record(found, socket.gethostname(), time.time()), ensure_ascii=False))
    else:
        print(table(found.checks))
    if found.refused is not None:
        return 2
    return 1 if worst(found.checks) is Level.BAD else 0


def record(found: Examined, host: str, now: float) -> dict[str, Any]:
    """Return the result as a JSON object. now: Unix seconds, by this machine's clock."""
    return {
        "layout": LAYOUT,
        "host": host,
        "name": None if found.config is None else found.config.name,
        "release": __version__,
        "at": iso_time(now),
        "level": worst(found.checks).value,
        "checks": [
            {
                "name": check.name,
                "found": check.found,
                "expected": check.expected,
                "level": check.level.value,
                "fix": check.fix,
            }
            for check in found.checks
        ],
        "events": [event.record() for event in found.events],
    }


def table(checks: list[Check]) -> str:
    """Return one line per check, with the expectation and the fix below if it is not good, and a summary."""
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{_MARKS[check.level]:<4}  {check.name:<{width}}  {check.found}")
        if check.level in (Level.WARNING, Level.BAD):
            lines.append(f"{'':<4}  {'':<{width}}  expected: {check.expected}")
        if check.fix and check.level is not Level.OK:
            lines.append(f"{'':<4}  {'':<{width}}  fix: {check.fix}")
    counts = {level: sum(check.level is level for check in checks) for level in Level}
    summary = [
        f"{count} {word}"
        for count, word in (
            (counts[Level.BAD], "bad"),
            (counts[Level.WARNING], "warning" if counts[Level.WARNING] == 1 else "warnings"),
            (counts[Level.UNKNOWN], "unknown"),
        )
        if count
    ]
    total = "1 check" if len(checks) == 1 else f"{len(checks)} checks"
    lines.append(f"{total}: {', '.join(summary) or 'all good'}")
    return "\n".join(lines)
