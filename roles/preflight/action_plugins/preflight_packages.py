"""Install packages. Wait for others that install some, and finish what an interrupted dpkg has left.

Argument: `names`, the packages. It fetches the package lists first, so it is only for packages that are
missing. A failure names them, and apt's own reason.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.answer import AnswerError  # noqa: E402 - the path comes first.
from roles.preflight.rules.look import Dpkg, read_answer  # noqa: E402
from roles.preflight.rules.packages import INSTALL, WAIT_SECONDS, failure, too_long  # noqa: E402
from roles.preflight.rules.problem import printable  # noqa: E402
from roles.preflight.rules.question import program  # noqa: E402

_NOTHING: dict[str, Any] = {"files": [], "units": [], "users": [], "interfaces": [], "port": 0}
_POLL_SECONDS = 5
_REPORT_SECONDS = 30
_PROGRAM = program()


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `preflight_packages`."""

    _VALID_ARGS = frozenset({"names"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Install the packages; fail with the cause and the fix."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        task_vars = task_vars or {}
        host = str(task_vars["inventory_hostname"])
        names = [str(name) for name in self._task.args["names"]]
        dpkg = self._wait(host, task_vars)
        way = "interrupted" if dpkg.interrupted else "whole"
        done = self._command(task_vars, ["/bin/sh", "-c", INSTALL, "sh", way, *names])
        output = f"{done.get('stdout', '')}\n{done.get('stderr', '')}"
        if done.get("failed") or done.get("rc"):
            output = output if output.strip() else str(done.get("msg", ""))
            return {**result, "failed": True, "msg": printable(f"{host}: {failure(names, output)}")}
        return {**result, "changed": True, "installed": names}

    def _wait(self, host: str, task_vars: dict[str, Any]) -> Dpkg:
        """Wait until nobody else uses dpkg or apt, and report who does; return the state of dpkg then."""
        began = time.monotonic()
        report = 0.0
        while (dpkg := self._dpkg(host, task_vars)).lock:
            waited = time.monotonic() - began
            if waited > WAIT_SECONDS:
                raise AnsibleActionFail(f"{host}: {too_long(dpkg.lock)}")
            if waited >= report:
                limit = f"{waited:.0f} of at most {WAIT_SECONDS} s"
                self._display.display(f"{host}: waiting for {dpkg.lock} to release dpkg: {limit}")
                report += _REPORT_SECONDS
            time.sleep(_POLL_SECONDS)
        return dpkg

    def _dpkg(self, host: str, task_vars: dict[str, Any]) -> Dpkg:
        argv = ["/usr/bin/python3", "-I", "-", json.dumps(_NOTHING)]
        answer = self._command({**task_vars, "ansible_no_target_syslog": True}, argv, stdin=_PROGRAM)
        if answer.get("failed") or answer.get("rc"):
            raise AnsibleActionFail(printable(f"{host}: its state can't be read: {answer.get('msg')}"))
        try:
            return read_answer(str(answer.get("stdout", "")), _NOTHING).dpkg
        except AnswerError as error:
            raise AnsibleActionFail(f"{host}: answers wrongly: {error}") from None

    def _command(self, task_vars: dict[str, Any], argv: list[str], **arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="ansible.legacy.command",
            module_args={"argv": argv, **arguments},
            task_vars=task_vars,
        )
        return answer
