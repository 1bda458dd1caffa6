"""The action concentrator_claim, with the answers of claim.sh on a Pi."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from roles.concentrator.action_plugins import concentrator_claim
from roles.concentrator.action_plugins.concentrator_claim import ActionModule
from roles.concentrator.rollout import pi
from roles.concentrator.rollout.pi import BUSY, Answer

HELD = Answer(BUSY, "anna@elsewhere, process 7 holds this Pi for 840 s more")
ATTEMPT = Answer(BUSY, "another run is changing it at this moment")
DONE = Answer(0, "")


def run(monkeypatch: pytest.MonkeyPatch, state: str, patience: float, *answers: Answer) -> dict[str, Any]:
    left = iter(answers)
    monkeypatch.setattr(concentrator_claim, "run_script", lambda *_, **__: next(left))
    monkeypatch.setattr(pi, "_PAUSE", 0)
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(args={"state": state, "seconds": 900, "patience": patience})
    action._display = SimpleNamespace(display=lambda line: None)
    monkeypatch.setattr(ActionModule.__base__, "run", lambda *_: {})
    return action.run(task_vars={"inventory_hostname": "pi-north"})


@pytest.mark.parametrize("state", ["renew", "release"])
def test_a_waiting_runs_attempt_does_not_make_another_state_fail(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    assert run(monkeypatch, state, 0, ATTEMPT, ATTEMPT, DONE) == {"changed": False}


def test_a_claim_that_ends_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "claim", 60, HELD, HELD, DONE) == {"changed": False}


def test_a_claim_that_does_not_end_is_reported_with_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, "claim", -1, HELD)

    assert result["failed"]
    assert result["msg"] == (
        "pi-north: anna@elsewhere, process 7 is changing this Pi; wait until that is over "
        "(its claim ends in 840 s at the latest), and run this again. Nothing was changed."
    )


def test_the_claim_of_an_ended_run_is_taken_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concentrator_claim, "has_ended", lambda name: name == "anna@elsewhere, process 7")

    assert run(monkeypatch, "claim", -1, HELD, DONE) == {"changed": False}
