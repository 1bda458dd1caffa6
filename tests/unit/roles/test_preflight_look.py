"""The action preflight_look: what it makes of a Pi's answers, and what it asks for."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from roles.preflight.action_plugins import preflight_look
from roles.preflight.action_plugins.preflight_look import ActionModule
from roles.preflight.rules.question import question
from roles.preflight.rules.variables import Variables
from tests.unit.roles.loaded import ROLES
from tests.unit.roles.looks import WANTED, answer
from tests.unit.roles.site import REPOSITORY

HOST = {
    "inventory_hostname": "pi-north",
    "network_field_interface": "wlan0",
    "network_control_interface": "eth0",
    "concentrator_port": 1502,
}


def run(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], **host: Any) -> tuple[dict[str, Any], Any]:
    """Return the result for what the module returns, and how the module was called."""
    calls: list[dict[str, Any]] = []
    action = ActionModule.__new__(ActionModule)
    action._loader = None

    def execute(**call: Any) -> dict[str, Any]:
        calls.append(call)
        return given

    action._execute_module = execute
    monkeypatch.setattr(ActionModule.__base__, "run", lambda *_: {})
    monkeypatch.setattr(preflight_look, "question", lambda variables: WANTED)
    result = action.run(task_vars={**HOST, **host})
    return result, calls[0]


def test_the_answer_is_returned_with_the_difference_of_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(answer({"clock": time.time() + 100}))

    result, call = run(monkeypatch, {"rc": 0, "stdout": text})

    assert result["changed"] is False
    assert result["look"]["login"]["home"] == "/home/pi"
    assert result["look"]["clock_ahead"] == pytest.approx(100, abs=5)
    interpreter, *rest = call["module_args"]["argv"]
    assert interpreter == "/usr/bin/python3"
    assert rest == ["-I", "-", json.dumps(WANTED)]
    assert call["task_vars"]["ansible_no_target_syslog"] is True


@pytest.mark.parametrize(
    ("given", "used"), [("/opt/python", "/opt/python"), ("auto_silent", "/usr/bin/python3")]
)
def test_it_runs_with_the_python_of_ansible(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    stdout = json.dumps(answer())

    _, call = run(monkeypatch, {"rc": 0, "stdout": stdout}, ansible_python_interpreter=given)

    assert call["module_args"]["argv"][0] == used


def test_a_hostile_answer_fails_with_its_place_and_without_control_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = json.dumps(answer({"login.home": "/home/pi\x1b]0;x\x07"}))

    result, _ = run(monkeypatch, {"rc": 0, "stdout": text})

    assert result["failed"]
    assert "look" not in result
    assert result["msg"].startswith('pi-north: answers wrongly: login.home is "/home/pi')
    assert result["msg"].isprintable()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"rc": 1, "stderr": "Traceback\nSyntaxError: invalid\x1b syntax"}, "SyntaxError: invalid"),
        (
            {"failed": True, "rc": 127, "module_stderr": "sudo: a\n/usr/bin/python3: not found"},
            "python3: not found",
        ),
        ({"failed": True, "msg": "No such file or directory: b'/opt/python'"}, "No such file or directory"),
    ],
)
def test_a_program_that_does_not_run_fails_with_its_last_line(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], reason: str
) -> None:
    result, _ = run(monkeypatch, given)

    assert result["failed"]
    assert result["msg"].startswith("pi-north: its state can't be read: ")
    assert reason in result["msg"]
    assert result["msg"].isprintable()


@pytest.mark.parametrize(
    ("claimed", "age", "expected"), [(False, 1, False), (False, 30, True), (True, 1, True)]
)
def test_it_is_repeated_after_the_claim_if_another_run_may_have_changed_the_pi(
    claimed: bool, age: float, expected: bool
) -> None:
    plays = DataLoader().load_from_file(str(REPOSITORY / "playbooks/site.yml"), trusted_as_template=True)
    [again] = [
        task
        for play in plays
        for outer in play["tasks"]
        for task in outer.get("block", [])
        if task.get("ansible.builtin.include_role", {}).get("name") == "preflight"
    ]
    look = {"claimed": claimed, "time": time.time() - age}

    holds = Templar(DataLoader(), {"preflight_look": look}).evaluate_conditional(again["when"])

    assert holds is expected


def test_it_asks_for_what_the_roles_manage() -> None:
    asked = question(Variables("pi-north", HOST, ROLES, None))

    assert asked["interfaces"] == ["wlan0", "eth0"]
    assert asked["port"] == 1502
    assert "/etc/authbind/byport/1502" in asked["files"]
    # Not managed, but a change that waits for its confirmation comes first.
    assert "/var/lib/smart-meter-guard/network/paths" in asked["files"]
    assert all(path.startswith("/") for path in asked["files"])
    assert asked["users"] == ["smart-meter"]
