"""Claim a Pi for this run, so that no other run changes it meanwhile; renew the claim, or release it.

Takes `state` (claim, renew or release), `seconds` (how long the claim holds where this controller is lost)
and `patience` (how many seconds to wait for another run's claim).
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

from roles.concentrator.rollout.claim import Holder, has_ended, holder_in  # noqa: E402 - the path comes first.
from roles.concentrator.rollout.pi import BUSY, Said, run_script  # noqa: E402

_SCRIPT = "claim.sh"
_PAUSE = 1.0


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `concentrator_claim`."""

    _VALID_ARGS = frozenset({"state", "seconds", "patience"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail where another run has the Pi, with that run's name. A claim is never "changed": it ends."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        host = str((task_vars or {})["inventory_hostname"])
        state, seconds = str(self._task.args["state"]), str(self._task.args["seconds"])
        if state == "claim":
            said = self._claim(host, seconds, float(self._task.args["patience"]))
        else:
            said = run_script(self, _SCRIPT, [state, seconds], apart=True)
        if not said.status:
            return result
        return {**result, "failed": True, "msg": f"{host}: {_reason(state, said)}"}

    def _claim(self, host: str, seconds: str, patience: float) -> Said:
        deadline = time.monotonic() + patience
        shown = ""
        gone: list[str] = []
        while True:
            said = run_script(self, _SCRIPT, ["claim", seconds, *gone], apart=True)
            if said.status != BUSY:
                return said
            holder = holder_in(said.text)
            # A run of this controller that was killed has no use for its claim.
            gone = [holder.name] if holder and has_ended(holder.name) else []
            waits_for = holder.name if holder else said.text
            if gone:
                continue
            if time.monotonic() > deadline:
                return said
            if waits_for != shown:
                # At once, while a warning would come with the task's result.
                self._display.display(f"{host}: waiting for {waits_for}, which changes this Pi")
                shown = waits_for
            time.sleep(_PAUSE)


def _reason(state: str, said: Said) -> str:
    holder: Holder | None = holder_in(said.text)
    if said.status == BUSY:
        which = f"{holder.name} is changing this Pi" if holder else said.text
        until = f" (its claim ends in {holder.seconds} s at the latest)" if holder else ""
        return f"{which}; wait until that is over{until}, and run this again. Nothing was changed."
    if state == "renew":
        return (
            f"this run took so long that its claim ended, and {said.text} is changing this Pi now; wait until"
            " that is over, and run this again; for Pis that are so slow, raise concentrator_claim_seconds"
        )
    return f"the claim on this Pi could not be changed: {said.text}"
