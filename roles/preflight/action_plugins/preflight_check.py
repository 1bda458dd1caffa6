"""Hold one host's variables against all the rules, on the controller; nothing is sent anywhere.

Returns problems (printable lines), identity (what the host may not share with another) and, where it is
good, the configuration that the Pi should have. It never fails by itself, so that every host is heard
before any is refused.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

from ansible import context
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.encryption import check_encryption  # noqa: E402
from roles.preflight.rules.fleet import identify  # noqa: E402 - the path comes first.
from roles.preflight.rules.host import Host, check_host  # noqa: E402
from roles.preflight.rules.variables import CONNECTION, Variables, load_roles  # noqa: E402

# Ansible imports this in its own process, and runs each host in a fork of that: what is read and rendered
# here, with nothing but defaults, every host finds done.
_ROLES = load_roles(_REPOSITORY)
Variables("", {}, _ROLES, DataLoader()).render()


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `preflight_check`; takes no arguments."""

    _VALID_ARGS = frozenset[str]()
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the host's problems, and its identity."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        raw = self._inventory_variables(task_vars or {})
        variables = Variables(str(raw["inventory_hostname"]), raw, _ROLES, self._loader)
        variables.resolve([*CONNECTION, *_ROLES.variables])
        render = cache(variables.render)
        host = Host(
            values=variables.values,
            names=list(raw),
            plain=list(check_encryption(variables)),
            by_hand=variables.by_hand(),
            defaults=[name for name in _ROLES.variables if variables.is_default(name)],
            password_asked=any(context.CLIARGS.get(f"become_{way}") for way in ("ask_pass", "password_file")),
            render=render,
            failures=variables.failures,
            default_failures=variables.default_failures,
        )
        problems = check_host(_ROLES.specs, host)
        identity = identify(variables.host, variables.values, variables.places())
        return {
            **result,
            "changed": False,
            "problems": [variables.line(problem) for problem in problems],
            "identity": identity.as_result(),
            "configuration": "" if problems else render(),
        }

    def _inventory_variables(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the host's variables without those that the task sets to keep Ansible from the Pi."""
        original = task_vars["hostvars"].raw_get(task_vars["inventory_hostname"])
        blanked = [name for name in self._task.get_vars() if name.startswith("ansible_")]
        kept = {name: value for name, value in task_vars.items() if name not in blanked}
        restored = {name: original[name] for name in blanked if name in original}
        # Where an earlier play has found the Pi elsewhere, it has kept what the inventory says.
        if "preflight_inventory_host" in original:
            restored["ansible_host"] = original["preflight_inventory_host"]
        return {**kept, **restored}
