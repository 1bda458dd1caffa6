"""Read the state of a Pi in one round trip, and check every value of the answer; changes nothing on the Pi.

No arguments: the roles name what they want to know (rules/question.py). The result's `look` has the fields of
rules/look.py and two more. clock_ahead: the seconds by which the Pi's clock is ahead of the controller's.
time: when the Pi was read, by the controller's clock.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.answer import AnswerError  # noqa: E402 - the path comes first.
from roles.preflight.rules.look import read_answer  # noqa: E402
from roles.preflight.rules.problem import show  # noqa: E402
from roles.preflight.rules.question import internal_variables, program, question  # noqa: E402
from roles.preflight.rules.variables import Variables, load_roles  # noqa: E402

_PYTHON = "/usr/bin/python3"
# Read once, before Ansible forks for each Pi.
_ROLES = load_roles(_REPOSITORY)
_PROGRAM = program()
internal_variables(_REPOSITORY)


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `preflight_look`."""

    _VALID_ARGS = frozenset[str]()
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the look; fail if the Pi does not answer, or with values that can't be right."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        task_vars = task_vars or {}
        host = str(task_vars["inventory_hostname"])
        variables = Variables(host, task_vars, _ROLES, self._loader)
        asked = question(variables)
        before = time.time()
        # By a module, which returns only the command's own output. A raw command would also return sudo's
        # warnings and lecture (on a terminal), and what a login shell's start-up files print.
        answer = self._execute_module(
            module_name="ansible.legacy.command",
            # Isolated: without the modules of the folder that it starts in, which is the user's.
            module_args={
                "argv": [_interpreter(variables), "-I", "-", json.dumps(asked)],
                "stdin": _PROGRAM,
            },
            # A module writes its arguments to the journal, and the program has 30 KB.
            task_vars={**task_vars, "ansible_no_target_syslog": True},
        )
        # The Pi read its clock between the two times; the middle is the best estimate.
        now = (before + time.time()) / 2
        if answer.get("failed") or answer.get("rc"):
            return {**result, "failed": True, "msg": f"{host}: {_reason(answer)}"}
        try:
            look = read_answer(str(answer.get("stdout", "")), asked)
        except AnswerError as error:
            message = f"{host}: answers wrongly: {error}; log in and find out why, or flash its card again"
            return {**result, "failed": True, "msg": message}
        return {**result, "look": {**look.as_fact(), "clock_ahead": look.clock - now, "time": now}}


def _interpreter(variables: Variables) -> str:
    """Return the Python that Ansible runs modules with; that of Debian if Ansible would have to find one."""
    variables.resolve(["ansible_python_interpreter"])
    configured = constants.config.get_config_value("INTERPRETER_PYTHON")
    interpreter = str(variables.values.get("ansible_python_interpreter", configured))
    return interpreter if interpreter.startswith("/") else _PYTHON


def _reason(answer: dict[str, Any]) -> str:
    """Return why the program did not run to its end; the last line of each output has the reason."""
    parts = [str(answer.get(key, "")).strip() for key in ("stderr", "module_stderr", "msg")]
    lines = dict.fromkeys(line for part in parts if part for line in part.splitlines()[-1:])
    return f"its state can't be read: {show(' '.join(lines))}"
