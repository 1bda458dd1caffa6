"""Run one of the role's scripts on the Pi as root, in one round trip. The script runs to its end even if the
connection breaks.

Arguments: `script` (a name in the role's files/), `arguments`, `text` (which the script reads in base64),
`patience`: the seconds to wait while another run changes the Pi, and `detached`: false in a root without a
running systemd, whose scripts end with the connection.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.concentrator.rollout.pi import BUSY, REFUSED, run_in_turn  # noqa: E402 - the path comes first.


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `concentrator_pi`."""

    _VALID_ARGS = frozenset({"script", "arguments", "text", "patience", "detached"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the script's output as `msg`; fail if the script fails or the Pi is not reached.

        refused: the script has changed nothing; `msg` is the reason. busy: nothing was changed either,
        because another run was changing the Pi.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = [str(argument) for argument in self._task.args.get("arguments", [])]
        script = str(self._task.args["script"])
        if self._task.check_mode:
            return {**result, "changed": False, "skipped": True, "msg": f"{script} is not run in check mode"}
        answer = run_in_turn(
            self,
            str((task_vars or {})["inventory_hostname"]),
            script,
            arguments,
            self._task.args.get("text"),
            patience=float(self._task.args.get("patience", 30)),
            detached=bool(self._task.args.get("detached", True)),
        )
        return {
            **result,
            "changed": answer.status not in (REFUSED, BUSY),
            "failed": answer.status != 0,
            "refused": answer.status == REFUSED,
            "busy": answer.status == BUSY,
            "msg": answer.text,
        }
