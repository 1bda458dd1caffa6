"""Ask a Pi in one round trip whether it has and runs the configuration that it should; changes nothing.

Takes `configuration`, the text. It is "changed" where it differs, with the difference for --diff. A Pi that
does not answer is not a failure: `off` says why. One that refuses the controller, or that can't be trusted
to be this Pi, is. A configuration that a reload can't bring about is not a failure: what stands against it is
in `refused`, a printable line each.
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
    """The action `concentrator_look`."""

    _VALID_ARGS = frozenset({"configuration"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return off, why (it differs), refused, before (its present configuration), hash (SHA-256 of that
        file), waiting (an earlier change is unconfirmed), release and connection.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        host = str((task_vars or {})["inventory_hostname"])
        login = f"{self._play_context.remote_user}@{self._play_context.remote_addr}"
        said = run_script(self, "look.sh")
        if not said.reached and unreached(said.text, host, login).cause is Cause.BROKEN:
            # Maybe by a connection that an earlier run has kept open, and that leads nowhere any more.
            self._connection.reset()
            said = run_script(self, "look.sh")
        if not said.reached:
            failure = unreached(said.text, host, login)
            if failure.cause is Cause.OFF:
                return {**result, "changed": False, "off": failure.reason, "why": [], "refused": []}
            return {**result, "failed": True, "msg": f"{host}: {failure}"}
        found = dict(line.strip().split("=", 1) for line in said.out.splitlines() if "=" in line)
        if said.status or "config" not in found:
            message = f"{host}: does not answer as a Pi of ours: {said.text}; make provision LIMIT={host}"
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
            "waiting": bool(found["waiting"]),
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
        *(["an earlier change was not confirmed"] if found["waiting"] else []),
    ]
