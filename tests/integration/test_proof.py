"""The action `concentrator_prove` as it proves a configuration on the Pi: this machine stands for the Pi."""

from __future__ import annotations

import subprocess
from typing import Any

from roles.concentrator.action_plugins.concentrator_prove import ActionModule
from roles.concentrator.rollout.proof import target

from smart_meter.config import Config
from tests.integration.program import Program


class OnThisMachine(ActionModule):
    """The action, with this machine's shell in place of SSH."""

    def __init__(self) -> None:
        """Ansible's own would need a task and a connection."""

    def _low_level_execute_command(self, command: str, *, sudoable: bool, in_data: bytes) -> dict[str, Any]:
        assert not sudoable
        # Without the environment, as after a login: no PYTHONPATH, no virtual environment.
        done = subprocess.run(
            ["/bin/sh", "-c", command], check=False, capture_output=True, input=in_data, env={}
        )
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


def proof(port: int, **changes: object) -> list[str]:
    """Prove the default configuration, with changes in what is expected of its meter, at a port."""
    asked = target(Config(), "", 0)
    [meter] = asked["meters"]
    return OnThisMachine()._on_pi(
        {**asked, "host": "127.0.0.1", "port": port, "meters": [{**meter, **changes}]}
    )


def test_a_configuration_that_is_served_is_proven(reading_only: Program) -> None:
    assert proof(reading_only.port()) == []
    reading_only.wait_for(r"^\[PROBE\]")


def test_another_configuration_is_named(reading_only: Program) -> None:
    [problem] = proof(reading_only.port(), fingerprint="0123abcd")
    assert problem.startswith("meter pv, unit 1: the register map's fingerprint is ")
    assert problem.endswith(" instead of 0123abcd")


def test_a_service_that_does_not_answer_is_named(reading_only: Program) -> None:
    port = reading_only.port()
    reading_only.stop()
    assert proof(port) == [f"127.0.0.1:{port}: connection refused"]


def test_a_program_that_does_not_run_is_named(reading_only: Program) -> None:
    [problem] = OnThisMachine()._on_pi({"host": "127.0.0.1"})
    assert problem.startswith("the proof did not run there: ")
    assert problem.endswith("KeyError: 'seconds'")
