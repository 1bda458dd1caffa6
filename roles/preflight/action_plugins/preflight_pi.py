"""Check a Pi whose facts have been gathered, and report everything that keeps it from being a concentrator.

Runs one short command on the Pi, which changes nothing; the task runs it in check mode, too. No arguments.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.pi import Found, examine  # noqa: E402 - the path comes first.
from roles.preflight.rules.variables import Variables, load_roles  # noqa: E402

_QUESTIONS = (
    "date +%s; id -u; df --block-size=1 --output=avail / | tail -n 1;"
    " systemctl is-active NetworkManager.service"
)


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `preflight_pi`."""

    _VALID_ARGS = frozenset[str]()
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with all problems of the Pi, each on a line of its own; only warn of minor ones."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        variables = Variables(
            str(task_vars["inventory_hostname"]),
            task_vars,
            load_roles(_REPOSITORY),
            self._loader,
        )
        variables.resolve(
            [
                "network_field_interface",
                "network_control_interface",
                "preflight_disk_megabytes",
                "preflight_clock_may_differ",
            ]
        )
        before = time.time()
        # By a module, which returns only the command's own output. A raw command would also return sudo's
        # warnings and lecture (on a terminal), and what a login shell's start-up files print.
        answer = self._execute_module(
            module_name="ansible.legacy.command",
            module_args={"_raw_params": _QUESTIONS, "_uses_shell": True},
            task_vars=task_vars,
        )
        # The Pi read its clock between the two times; the middle is the best estimate.
        now = (before + time.time()) / 2
        match answer.get("stdout", "").split():
            case [clock, user_id, free_bytes, *state] if (clock + user_id + free_bytes).isdigit():
                found = Found(
                    facts=task_vars["ansible_facts"],
                    clock_ahead=int(clock) - now,
                    user_id=int(user_id),
                    free_bytes=int(free_bytes),
                    network_manager=" ".join(state),
                )
            case _:
                parts = [answer.get(key, "") for key in ("stdout", "stderr", "module_stderr", "msg")]
                output = " ".join(str(part) for part in parts if part).strip()
                message = f"{variables.host}: does not answer `{_QUESTIONS}` as Debian does: {output}"
                return {**result, "failed": True, "msg": message}
        problems, warnings = examine(found, variables.values)
        for warning in warnings:
            self._display.warning(f"{variables.host}: {warning}.")
        if not problems:
            return {**result, "changed": False}
        lines = [
            f"{variables.line(problem) if problem.key else f'{variables.host}: {problem.message}'}\n"
            for problem in problems
        ]
        return {**result, "changed": False, "failed": True, "msg": "".join(lines)}
