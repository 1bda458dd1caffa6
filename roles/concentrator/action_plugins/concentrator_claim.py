"""Claim a Pi for this run, so that no other run changes it at the same time; renew or release the claim.

Arguments: `state` (claim, renew or release), `seconds` (after which the claim expires if this controller is
lost) and `patience` (how many seconds to wait for another run's claim to end).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.concentrator.rollout.claim import Holder, has_ended, holder_in  # noqa: E402 - the path comes first.
from roles.concentrator.rollout.pi import BUSY, Answer, run_script, wait_for_turn  # noqa: E402

_SCRIPT = "claim.sh"
# Seconds in which a waiting run's own attempt, which keeps others from running a script, is over.
_ATTEMPT = 30


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `concentrator_claim`."""

    _VALID_ARGS = frozenset({"state", "seconds", "patience"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail, with the other run's name, if another run has claimed the Pi. The result is never "changed":
        a claim is temporary.
        """
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        host = str((task_vars or {})["inventory_hostname"])
        state, seconds = str(self._task.args["state"]), str(self._task.args["seconds"])
        if state == "claim":
            answer = self._claim(host, seconds, float(self._task.args["patience"]))
        else:
            answer = wait_for_turn(
                self,
                lambda: self._run(state, seconds),
                lambda busy: f"{host}: {busy.text}; waiting until that is over",
                patience=_ATTEMPT,
            )
        if not answer.status:
            return result
        return {**result, "failed": True, "msg": f"{host}: {_reason(state, answer)}"}

    def _run(self, *arguments: str) -> Answer:
        return run_script(self, _SCRIPT, arguments, detached=True)

    def _claim(self, host: str, seconds: str, patience: float) -> Answer:
        def attempt() -> Answer:
            answer = self._run("claim", seconds)
            holder = holder_in(answer.text)
            if answer.status == BUSY and holder and has_ended(holder.name):
                # A killed run of this controller no longer needs its claim.
                return self._run("claim", seconds, holder.name)
            return answer

        def notice(busy: Answer) -> str:
            holder = holder_in(busy.text)
            return f"{host}: waiting for {holder.name if holder else busy.text}, which changes this Pi"

        return wait_for_turn(self, attempt, notice, patience=patience)


def _reason(state: str, answer: Answer) -> str:
    holder: Holder | None = holder_in(answer.text)
    if answer.status == BUSY:
        cause = f"{holder.name} is changing this Pi" if holder else answer.text
        until = f" (its claim ends in {holder.seconds} s at the latest)" if holder else ""
        return f"{cause}; wait until that is over{until}, and run this again. Nothing was changed."
    if state == "renew":
        return (
            f"this run took so long that its claim expired, and {answer.text} is changing this Pi now; wait"
            " until that is over, and run this again; for slow Pis, raise concentrator_claim_seconds"
        )
    return f"the claim on this Pi could not be changed: {answer.text}"
