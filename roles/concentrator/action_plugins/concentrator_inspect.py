"""Find out in one round trip whether a Pi has and runs the configuration that it should; changes nothing.

Argument: `configuration`, the text that it should have. The result is "changed" if the Pi's differs, with the
difference for --diff. A Pi that does not answer is not a failure: `off` is the reason. It is a failure if the
Pi refuses the controller, or if its host key is not the known one. If a reload can't make the change, that is
not a failure either: `refused` lists the reasons as printable lines.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.concentrator.rollout.pi import run_script  # noqa: E402 - the path comes first.
from roles.concentrator.rollout.reloadable import beyond_a_reload  # noqa: E402
from roles.preflight.rules.unreached import Cause, unreached  # noqa: E402
from roles.preflight.rules.variables import Variables, load_roles  # noqa: E402

_FILE = "/etc/smart-meter/config.toml"


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `concentrator_inspect`."""

    _VALID_ARGS = frozenset({"configuration"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the Pi's state.

        off: why it does not answer. why: in what it differs. refused: what a reload can't change. before: its
        present configuration. hash: the SHA-256 of that file. pending: whether an earlier change is not
        confirmed. release: the current one. connection: its SSH_CONNECTION.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        host = str((task_vars or {})["inventory_hostname"])
        login = f"{self._play_context.remote_user}@{self._play_context.remote_addr}"
        answer = run_script(self, "inspect.sh")
        if not answer.reached and unreached(answer.text, host, login).cause is Cause.BROKEN:
            # An earlier run may have left a connection open that is dead by now.
            self._connection.reset()
            answer = run_script(self, "inspect.sh")
        if not answer.reached:
            failure = unreached(answer.text, host, login)
            if failure.cause is Cause.OFF:
                return {**result, "changed": False, "off": failure.reason, "why": [], "refused": []}
            return {**result, "failed": True, "msg": f"{host}: {failure}"}
        found = dict(line.strip().split("=", 1) for line in answer.out.splitlines() if "=" in line)
        if answer.status or "config" not in found:
            message = f"{host}: its answer can't be read: {answer.text}; run make provision LIMIT={host}"
            return {**result, "failed": True, "msg": message}
        file = base64.b64decode(found["config"])
        before = file.decode("utf-8", "replace")
        after = str(self._task.args["configuration"])
        written = hashlib.sha256(file).hexdigest()
        why = _why(found, before != after, written)
        return {
            **result,
            "changed": bool(why),
            "off": "",
            "why": why,
            "refused": self._refused(before, after, task_vars or {}) if before != after else [],
            "before": before,
            "hash": written,
            "pending": bool(found["pending"]),
            "release": found["release"].rpartition("/")[2],
            "connection": found["connection"],
            "diff": [{"before": before, "after": after, "before_header": _FILE, "after_header": "inventory"}],
        }

    def _refused(self, before: str, after: str, task_vars: dict[str, Any]) -> list[str]:
        host = str(task_vars["inventory_hostname"])
        variables = Variables(host, task_vars, load_roles(_REPOSITORY), self._loader)
        zones_are_default = variables.is_default("concentrator_zones")
        problems = beyond_a_reload(before, after, host, zones_are_default=zones_are_default)
        return [variables.line(problem) for problem in problems]


def _why(found: dict[str, str], differs: bool, written: str) -> list[str]:
    if not found["release"]:
        return ["it was never provisioned"]
    return [
        *(["the file differs"] if differs else []),
        *([f"the service is {found['state']}"] if found["state"] != "active" else []),
        *(
            ["the service runs with another file"]
            if found["state"] == "active" and found["running"] != written
            else []
        ),
        *(["an earlier change was not confirmed"] if found["pending"] else []),
    ]
