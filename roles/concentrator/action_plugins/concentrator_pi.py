"""Run one of the role's scripts on the Pi as root, in one round trip, to its end even where the connection
breaks.

Takes `script` (a name in the role's files/), `arguments`, `text`, which the script reads in base64, and
`patience`: the seconds to wait for another run's change on the Pi, which is not to be cut into.
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

    _VALID_ARGS = frozenset({"script", "arguments", "text", "patience"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the script said as `msg`; fail where it does, or the Pi can't be reached.

        refused: the script has changed nothing, for the reason that it says. busy: nor has it, since another
        run's change was under way all the time.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = [str(argument) for argument in self._task.args.get("arguments", [])]
        script = str(self._task.args["script"])
        if self._task.check_mode:
            return {**result, "changed": False, "skipped": True, "msg": f"{script} is not run in check mode"}
        said = run_in_turn(
            self,
            str((task_vars or {})["inventory_hostname"]),
            script,
            arguments,
            self._task.args.get("text"),
            patience=float(self._task.args.get("patience", 30)),
        )
        return {
            **result,
            "changed": said.status not in (REFUSED, BUSY),
            "failed": said.status != 0,
            "refused": said.status == REFUSED,
            "busy": said.status == BUSY,
            "msg": said.text,
        }
