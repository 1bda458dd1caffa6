"""`smart-meter doctor`: how this Pi fares, check by check, and what mends it."""

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

LAYOUT = 1
"""Of the JSON object; changes where a key gets another meaning."""
_MARKS = {Level.OK: "ok", Level.UNKNOWN: "?", Level.WARNING: "look", Level.BAD: "BAD"}


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 where nothing is bad, 1 where something is, 2 where the configuration can't be used."""
    found = examine(Path(arguments.config), Path(arguments.runtime))
    if arguments.json:
        print(json.dumps(record(found, socket.gethostname(), time.time()), ensure_ascii=False))
    else:
        print(table(found.checks))
    if found.refused is not None:
        return 2
    return 1 if worst(found.checks) is Level.BAD else 0


def record(found: Examined, host: str, now: float) -> dict[str, Any]:
    """Return what was found as one JSON object. now: Unix seconds, by this machine's clock."""
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
                "mend": check.mend,
            }
            for check in found.checks
        ],
    }


def table(checks: list[Check]) -> str:
    """Return a line a check, what was expected and the mend under each that is not good, and the sum."""
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{_MARKS[check.level]:<4}  {check.name:<{width}}  {check.found}")
        if check.level in (Level.WARNING, Level.BAD):
            lines.append(f"{'':<4}  {'':<{width}}  expected: {check.expected}")
        if check.mend and check.level is not Level.OK:
            lines.append(f"{'':<4}  {'':<{width}}  mend: {check.mend}")
    counts = {level: sum(check.level is level for check in checks) for level in Level}
    told = [
        f"{count} {word}"
        for count, word in (
            (counts[Level.BAD], "bad"),
            (counts[Level.WARNING], "to look at"),
            (counts[Level.UNKNOWN], "not known"),
        )
        if count
    ]
    lines.append(f"{len(checks)} checks: {', '.join(told) or 'all good'}")
    return "\n".join(lines)
