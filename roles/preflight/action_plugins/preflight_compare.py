"""Compare all Pis of the play with each other, print what is wrong with any, and fail where something is.

Takes `checks`: the name under which each host has registered its `preflight_check`. Runs once. Hosts
outside this run (`--limit`) are compared, too: a new Pi may not take the address of one that is in the
field already.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.files import unread_files  # noqa: E402 - the path comes first.
from roles.preflight.rules.fleet import IDENTITY, Identity, compare, identify  # noqa: E402
from roles.preflight.rules.variables import Variables, load_roles, relative  # noqa: E402


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `preflight_compare`."""

    _VALID_ARGS = frozenset({"checks"})
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print every problem of every host on a line of its own."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        registered = str(self._task.args["checks"])
        problems: dict[str, list[str]] = {}
        identities: list[Identity] = []
        unknown: list[str] = []
        for host in self._targets(task_vars):
            try:
                raw = task_vars["hostvars"].raw_get(host)
            except AnsibleError:
                # Outside this run, with a site's vault whose password this controller does not have.
                unknown.append(host)
                continue
            if registered in raw:
                check = raw[registered]
                problems[host] = list(check["problems"])
                identities.append(Identity(**check["identity"]))
            else:
                identities.append(self._identify(host, raw))
        for host, found in compare(identities, in_this_run=list(problems)):
            place = next(pi.places[found.variable] for pi in identities if pi.name == host)
            problems.setdefault(host, []).append(f"{place}: {found.variable}: {found.message}")
        if unknown:
            self._display.warning(
                f"not compared, because their variables can't be read here: {', '.join(unknown)}"
            )
        lines = [*self._of_files(task_vars), *(line for host in problems for line in problems[host])]
        for line in dict.fromkeys(lines):
            # By the screen and not in the result, which would quote and wrap the lines, and show them twice.
            self._display.display(line, color=constants.COLOR_ERROR)
        wrong = sum(1 for host in problems if problems[host])
        if not lines:
            return {**result, "changed": False, "msg": f"{len(problems)} checked, nothing to mend"}
        count = "1 problem" if len(set(lines)) == 1 else f"{len(set(lines))} problems"
        message = (
            f"{count} in the inventory ({wrong} of {len(problems)} Pis), listed above; no Pi was touched"
        )
        return {**result, "changed": False, "failed": True, "msg": message}

    def _of_files(self, task_vars: dict[str, Any]) -> list[str]:
        """Return what is wrong with the inventory's files as such; warn of what may be meant."""
        folder = Path(str(task_vars.get("inventory_dir")))
        groups = task_vars["groups"]
        found = list(unread_files(folder, groups["all"], list(groups))) if folder.is_dir() else []
        for each in found:
            if not each.likely:
                self._display.warning(f"{relative(each.path)}: {each.name}: {each.message}")
        return [f"{relative(each.path)}: {each.name}: {each.message}" for each in found if each.likely]

    def _targets(self, task_vars: dict[str, Any]) -> list[str]:
        """Return the hosts that the play is for, whatever --limit leaves of them."""
        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader)
        hosts: list[str] = lookup.run(list(self._task.get_play().hosts), variables=task_vars)
        return hosts

    def _identify(self, host: str, raw: dict[str, Any]) -> Identity:
        variables = Variables(host, raw, load_roles(_REPOSITORY), self._loader)
        variables.resolve([*IDENTITY, "ansible_port", "ansible_ssh_common_args", "preflight_site"])
        return identify(host, variables.values, variables.places())
