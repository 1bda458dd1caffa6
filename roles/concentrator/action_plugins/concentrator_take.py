"""Have a Pi's service take a configuration, in one round trip; nothing is proven yet, and the Pi goes back
by itself unless it is told in time to keep it.

Takes `configuration` (the text), `look` (what concentrator_look has returned), `seconds` (until the Pi goes
back). It waits while another run's change is under way on the Pi.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.concentrator.rollout.pi import BUSY, REFUSED, run_in_turn  # noqa: E402 - the path comes first.


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `concentrator_take`."""

    _VALID_ARGS = frozenset({"configuration", "look", "seconds"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what was said as `msg`; fail where the Pi has not taken it; `refused`: nothing was
        changed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._task.check_mode:
            return {**result, "changed": False, "skipped": True, "msg": "nothing is taken in check mode"}
        task_vars = task_vars or {}
        host = str(task_vars["inventory_hostname"])
        wanted = str(self._task.args["configuration"])
        look = self._task.args["look"]
        seconds = int(self._task.args["seconds"])
        said = run_in_turn(
            self,
            host,
            "take.sh",
            [
                str(seconds),
                hashlib.sha256(wanted.encode()).hexdigest(),
                str(look["hash"]),
                "waiting" if look["waiting"] else "",
            ],
            wanted,
            # In that time another run's change is kept, or taken back by the Pi.
            patience=seconds + 30,
        )
        refused = said.status in (REFUSED, BUSY)
        return {
            **result,
            "changed": not refused,
            "failed": said.status != 0,
            "refused": refused,
            "off": said.off,
            "msg": said.text,
        }
