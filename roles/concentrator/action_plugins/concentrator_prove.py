"""Prove that a Pi serves a configuration: every meter read, and its map's fingerprint told by function code
43.

Takes `configuration` (the text), `connection` (the Pi's SSH_CONNECTION), `seconds` (how long it may take to
serve). It asks from the controller where that has come straight to the Pi's address in the control zone,
else from the Pi itself. Changes nothing.
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
from roles.concentrator.rollout.pi import FILES, run_python  # noqa: E402
from roles.concentrator.rollout.proof import NotProvableError, reader, stands_in, target  # noqa: E402

from smart_meter.config import ConfigError, loads  # noqa: E402


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `concentrator_prove`."""

    _VALID_ARGS = frozenset({"configuration", "connection", "seconds"})
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with what is wrong; return from where it was proven as `msg`."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        try:
            config = loads(str(self._task.args["configuration"]), "config.toml")
        except ConfigError as error:
            return {**result, "failed": True, "msg": str(error)}
        client = stands_in(str(self._task.args["connection"]), str(reader(config).address))
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
        said = run_python(self, (FILES / "prove.py").read_text(encoding="utf-8"), json.dumps(asked))
        if said.status:
            return [f"it could not be asked: {said.text}"]
        problems: list[str] = json.loads(said.out)
        return problems
