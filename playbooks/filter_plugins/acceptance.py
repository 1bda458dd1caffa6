"""The filter `doctor_verdict`: what the answer of a Pi's own doctor decides in the acceptance.

Takes the output of `smart-meter doctor --json` and the Pi's name. Returns `checks`, a list in the form of the
roles' own checks (name, found, expected, ok, mark, fix), and `missing`, the topics that the controller has to
judge itself, because the Pi has no doctor, or an older one, or because the doctor could not find out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

FIX_KEYS = {1: "mend", 2: "fix"}
"""By layout of the answer: the key that has the fix. Any other layout is not understood."""
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
    r"clock|disk, .*|card's wear|temperature|supply voltage|meter .*, unit \d+|.* (?:heard|reading)"
    r"|last 24 hours.*"
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
        answer = json.loads(output)
        key = FIX_KEYS[answer["layout"]]
        levels = {check["name"]: check["level"] for check in answer["checks"]}
        checks = [
            _row(check, key, name) for check in answer["checks"] if not OPERATION.fullmatch(check["name"])
        ]
    except (ValueError, KeyError, TypeError):
        levels = {}
        checks = [_unknown("no answer that this controller understands")]
    decided = [check for check, level in levels.items() if level != "unknown"]
    missing = [
        topic
        for topic, names in TOPICS.items()
        if not all(any(re.fullmatch(expected, check) for check in decided) for expected in names)
    ]
    return {"checks": checks, "missing": missing}


def _row(check: dict[str, str], key: str, name: str) -> dict[str, Any]:
    fix = check[key].replace("NAME-OF-THIS-PI", name)
    return {
        "name": f"doctor: {check['name']}",
        "found": check["found"],
        "expected": check["expected"],
        # A level that this controller does not know is not good.
        "ok": check["level"] in _MARKS,
        "mark": _MARKS.get(check["level"], "BAD"),
        "fix": f"{name}: {check['name']}: {fix}",
    }


def _unknown(found: str) -> dict[str, Any]:
    return {"name": "doctor", "found": found, "expected": "its checks", "ok": True, "mark": "?", "fix": ""}
