"""The filter `doctor_result`: what is known of a Pi after its doctor was asked.

Takes the task's result, the Pi's name, USER@ADDRESS and the program. Returns `state` (asked, off or failed),
`reason` (empty if asked) and `report` (None unless asked). It never fails: a Pi that answers nonsense
must not end the run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.doctor_report import AnswerError, read_answer  # noqa: E402 - the path comes first.
from roles.preflight.rules.problem import printable  # noqa: E402
from roles.preflight.rules.unreached import Cause, unreached  # noqa: E402

_MAX_REASON = 500
# Ansible's words if the program is missing.
_NOT_THERE = "Error executing command."


class FilterModule:
    """Ansible looks for this class beside the playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"doctor_result": result}


def result(run: object, name: str, login: str, program: str) -> dict[str, Any]:
    """Return `state`, `reason` and `report`. run: the task's result."""
    answer = run if isinstance(run, Mapping) else {}
    output, errors, message = (_text(answer, key) for key in ("stdout", "stderr", "msg"))
    if answer.get("unreachable") is True:
        why = unreached(message, name, login)
        return _failed(str(why), "off" if why.cause is Cause.OFF else "failed")
    if output.startswith("{"):
        try:
            return {"state": "asked", "reason": "", "report": read_answer(output, name)}
        except AnswerError as error:
            return _failed(f"answers with something that is not a report: {error}")
    reason = errors or message or output or "nothing came back"
    return _failed(f"{program} does not run there; make provision" if reason == _NOT_THERE else reason)


def _failed(reason: str, state: str = "failed") -> dict[str, Any]:
    last = printable(reason.splitlines()[-1])
    shown = last if len(last) <= _MAX_REASON else last[: _MAX_REASON - 1] + "…"
    return {"state": state, "reason": shown, "report": None}


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    return value.strip() if isinstance(value, str) else ""
