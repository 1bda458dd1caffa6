"""Prove that a Pi serves a configuration: read every meter, and its register map's fingerprint.

Takes `configuration` (the text), `connection` (the Pi's SSH_CONNECTION) and `seconds` (how long it may take
until the Pi serves). It asks from the controller if that is connected directly to the Pi's address in the
control zone, otherwise on the Pi. Changes nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.concentrator.files.prove import prove  # noqa: E402 - the path comes first.
from roles.concentrator.rollout.pi import run_python  # noqa: E402
from roles.concentrator.rollout.proof import NotProvableError, direct_client, program, reader, target  # noqa: E402

from smart_meter.config import ConfigError, loads  # noqa: E402


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `concentrator_prove`."""

    _VALID_ARGS = frozenset({"configuration", "connection", "seconds"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with what is wrong; return where it was proven from as `msg`."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        try:
            config = loads(str(self._task.args["configuration"]), "config.toml")
        except ConfigError as error:
            return {**result, "failed": True, "msg": str(error)}
        client = direct_client(str(self._task.args["connection"]), str(reader(config).address))
        origin = "the controller" if client else "the Pi itself"
        try:
            asked = target(config, client, float(self._task.args.get("seconds", 1)))
        except NotProvableError as error:
            return {**result, "failed": True, "msg": str(error)}
        problems = prove(asked) if client else self._on_pi(asked)
        if problems:
            return {**result, "failed": True, "msg": f"asked from {origin}: {'; '.join(problems)}"}
        return {**result, "msg": f"from {origin}"}

    def _on_pi(self, asked: dict[str, Any]) -> list[str]:
        answer = run_python(self, program(), json.dumps(asked))
        if answer.status:
            return [f"the proof did not run there: {answer.text}"]
        problems: list[str] = json.loads(answer.out)
        return problems
