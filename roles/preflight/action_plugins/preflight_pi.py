"""Check the state of a Pi, and report everything that keeps it from being a concentrator. No arguments.

It reads `preflight_look` (tasks/look.yml), and runs nothing on the Pi.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.look import read_fact  # noqa: E402 - the path comes first.
from roles.preflight.rules.pi import examine  # noqa: E402
from roles.preflight.rules.variables import Variables, load_roles  # noqa: E402


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `preflight_pi`."""

    _VALID_ARGS = frozenset[str]()
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with all problems of the Pi, each on a line of its own; only warn of minor ones."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        task_vars = task_vars or {}
        variables = Variables(
            str(task_vars["inventory_hostname"]),
            task_vars,
            load_roles(_REPOSITORY),
            self._loader,
        )
        variables.resolve(
            [
                "network_field_interface",
                "network_control_interface",
                "appliance_ntp_servers",
                "concentrator_port",
                "firewall_extra_rules",
                "firewall_ssh_port",
                "preflight_disk_megabytes",
                "preflight_clock_may_differ",
            ]
        )
        fact = dict(task_vars["preflight_look"])
        problems, warnings = examine(read_fact(fact), float(fact["clock_ahead"]), variables.values)
        for warning in warnings:
            self._display.warning(f"{variables.host}: {warning}.")
        if not problems:
            return result
        lines = [
            f"{variables.line(problem) if problem.key else f'{variables.host}: {problem.message}'}\n"
            for problem in problems
        ]
        return {**result, "failed": True, "msg": "".join(lines)}
