"""The filters `doctor_report` and `printable`, for what comes from a Pi and is shown or kept here.

`doctor_report` takes the output of `smart-meter doctor --json` and the Pi's name, and returns `report`, or
why there is none: `reason`. `printable` escapes control characters, and those that change the direction of
text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.look.reading import clean  # noqa: E402 - the path comes first.
from roles.preflight.rules.report import ReportError, read_report  # noqa: E402


class FilterModule:
    """Ansible looks for this class beside the playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"doctor_report": report, "printable": clean}


def report(output: str, name: str) -> dict[str, Any]:
    """Return `report`, None if the output is not one, and `reason`, empty if it is."""
    try:
        return {"report": read_report(output, name), "reason": ""}
    except ReportError as error:
        return {"report": None, "reason": str(error)}
