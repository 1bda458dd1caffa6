"""The filter `doctor_verdict`: what the answer of a Pi's own doctor decides in the acceptance.

Takes the output of `smart-meter doctor --json` and the Pi's name. Returns `checks`, a list in the form of the
roles' own checks (name, found, expected, ok, mark, fix), and `missing`, the topics that the controller has to
judge itself, because the Pi has no doctor, or an older one, or because the doctor could not find out.
An answer that claims to be a report and is not one is one bad check.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.report import ReportError, read_report  # noqa: E402 - the path comes first.

TOPICS = {
    "journal": ("journal",),
    "kernel": (
        r"routing \(IPv4\)",
        r"routing \(IPv6\)",
        "ICMP redirects",
        "ICMP redirects of its own",
        "source routes",
        "reverse path filter",
    ),
    "service": ("service", "unit file", "configuration", "release", "history", r"port \d+"),
}
"""By topic: the checks that the doctor must have decided, as regular expressions of their names.

For each topic, a task file `verify_TOPIC.yml` of a role lets the controller judge instead. The other checks
have a counterpart that the controller always makes, or come in addition.
"""
OPERATION = re.compile(
    r"clock|disk, .*|card's (?:wear|life)|temperature|supply voltage|meter .*, unit \d+|.* (?:heard|reading)"
    r"|last 24 hours.*|restart"
)
"""Names of the checks of a Pi in operation, which `make doctor` shows. They decide nothing here.

A Pi is accepted before its ESP32 and Opta are connected.
"""
_MARKS = {"ok": "ok", "unknown": "?", "warning": "WARN"}


class FilterModule:
    """Found by Ansible because it is beside the playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"doctor_verdict": verdict}


def verdict(output: str, name: str) -> dict[str, Any]:
    """Return `checks` and `missing`. output: what the doctor printed; name: the Pi's in the inventory."""
    try:
        report = read_report(output, name) if output.strip() else None
    except ReportError as error:
        levels = {}
        checks = [_not_understood(str(error), name, newer=error.newer)]
    else:
        found = report["checks"] if report else []
        levels = {check["name"]: check["level"] for check in found}
        checks = [_row(check, name) for check in found if not OPERATION.fullmatch(check["name"])]
        if report is None:
            checks = [_not_understood("no answer", name, newer=True)]
    decided = [check for check, level in levels.items() if level != "unknown"]
    missing = [
        topic
        for topic, names in TOPICS.items()
        if not all(any(re.fullmatch(expected, check) for check in decided) for expected in names)
    ]
    return {"checks": checks, "missing": missing}


def _row(check: dict[str, str], name: str) -> dict[str, Any]:
    return {
        "name": f"doctor: {check['name']}",
        "found": check["found"],
        "expected": check["expected"],
        "ok": check["level"] in _MARKS,
        "mark": _MARKS.get(check["level"], "BAD"),
        "fix": f"{name}: {check['name']}: {check['fix']}",
    }


def _not_understood(found: str, name: str, *, newer: bool) -> dict[str, Any]:
    """Return the row of a missing report. newer: the Pi may be good, and the controller judges it itself."""
    return {
        "name": "doctor",
        "found": found,
        "expected": "its checks",
        "ok": newer,
        "mark": "?" if newer else "BAD",
        "fix": f"{name}: {found}; log in and find out why, or flash its card again",
    }
