"""Run one of the role's scripts on the Pi as root, in one round trip, to its end even where the connection
breaks.

Takes `script` (a name in the role's files/), `arguments`, and `text`, which the script reads in base64.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.concentrator.rollout.pi import run_script  # noqa: E402 - the path comes first.


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `concentrator_pi`."""

    _VALID_ARGS = frozenset({"script", "arguments", "text"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the script said as `msg`; fail where it does, or the Pi can't be reached."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = [str(argument) for argument in self._task.args.get("arguments", [])]
        script = str(self._task.args["script"])
        if self._task.check_mode:
            return {**result, "changed": False, "skipped": True, "msg": f"{script} is not run in check mode"}
        said = run_script(self, script, arguments, self._task.args.get("text"), apart=True)
        return {**result, "changed": True, "failed": said.status != 0, "off": said.off, "msg": said.text}
