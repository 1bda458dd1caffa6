"""Check all Pis of the play against all rules and against each other, without connecting to any.

Runs once for all of them, on the controller. Prints each problem of each Pi on a line of its own; the task
fails if there is one. Pis outside this run (`--limit`) are compared, too: a new Pi may not take the address
of one that is already in the field. Returns `configurations`: the configuration file of each host, by name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.connection import VARIABLES  # noqa: E402 - the path comes first.
from roles.preflight.rules.files import inventory_files, unread_files, unread_inventories, variable_files  # noqa: E402
from roles.preflight.rules.fleet import IDENTITY, Identity, compare, identify  # noqa: E402
from roles.preflight.rules.inventory import Checked, check_all, check_one  # noqa: E402
from roles.preflight.rules.problem import show_key  # noqa: E402
from roles.preflight.rules.variables import Variables, load_roles, relative  # noqa: E402
from roles.preflight.rules.warm import warm  # noqa: E402
from roles.preflight.rules.yaml_values import misread_in  # noqa: E402

_ROLES = load_roles(_REPOSITORY)
warm(_ROLES)


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `preflight_check`; takes no arguments."""

    _VALID_ARGS = frozenset[str]()
    _requires_connection = False
    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print the problems, or return the configurations if there are none."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        task_vars = task_vars or {}
        checked = self._check(task_vars)
        problems = {host: list(check.problems) for host, check in checked.items()}
        others, unknown = self._others(task_vars, checked)
        identities = [check.identity for check in checked.values()] + others
        # In the inventory's order, so that a conflict is reported for the later one of two.
        order = {host: place for place, host in enumerate(self._targets(task_vars))}
        identities.sort(key=lambda pi: order.get(pi.name, len(order)))
        for host, found in compare(identities, in_this_run=checked):
            place = next(pi.places[found.variable] for pi in identities if pi.name == host)
            problems.setdefault(host, []).append(f"{place}: {found.variable}: {found.message}")
        if unknown:
            self._display.warning(
                f"not compared, because their variables can't be read here: {', '.join(unknown)}"
            )
        misread = self._misread(task_vars, checked)
        lines = dict.fromkeys(
            [*self._of_files(task_vars), *misread.values()]
            # What follows from such a value would be a second line for the same mistake.
            + [line for host in problems for line in problems[host] if not line.startswith(tuple(misread))]
        )
        for line in lines:
            # Displayed, not returned: in the result the lines would be quoted, wrapped and shown twice.
            self._display.display(line, color=constants.COLOR_ERROR)
        if lines:
            count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
            wrong = sum(1 for host in problems if problems[host])
            where = f"{wrong} of {_pis(len(problems))}"
            message = f"{count} in the inventory ({where}), listed above; no Pi was touched"
            return {**result, "failed": True, "msg": message}
        configurations = {host: check.configuration for host, check in checked.items()}
        message = f"{_pis(len(checked))} checked, nothing to fix"
        return {**result, "msg": message, "configurations": configurations}

    def _check(self, task_vars: dict[str, Any]) -> dict[str, Checked]:
        asked = any(context.CLIARGS.get(f"become_{way}") for way in ("ask_pass", "password_file"))

        def check(host: str) -> Checked:
            raw = self._variables(task_vars, host)
            return check_one(host, raw, _ROLES, self._loader, password_asked=asked)

        return check_all(task_vars["ansible_play_hosts_all"], check)

    def _others(
        self, task_vars: dict[str, Any], checked: dict[str, Checked]
    ) -> tuple[list[Identity], list[str]]:
        """Return the identities of the Pis outside this run, and the names of those that can't be read."""
        identities, unknown = [], []
        for host in self._targets(task_vars):
            if host in checked:
                continue
            try:
                raw = self._variables(task_vars, host)
            except AnsibleError:
                # Its site's vault may have a password that this controller does not have.
                unknown.append(host)
                continue
            variables = Variables(host, raw, _ROLES, self._loader)
            variables.resolve([*IDENTITY, "ansible_port", "ansible_ssh_common_args", "preflight_site"])
            identities.append(identify(host, variables.values, variables.places()))
        return identities, unknown

    def _variables(self, task_vars: dict[str, Any], host: str) -> dict[str, Any]:
        raw = task_vars["hostvars"].raw_get(host)
        # An earlier play may have replaced ansible_host; preflight_inventory_host is the inventory's value.
        found = {"ansible_host": raw["preflight_inventory_host"]} if "preflight_inventory_host" in raw else {}
        return {**raw, **found, "hostvars": task_vars["hostvars"]}

    def _of_files(self, task_vars: dict[str, Any]) -> list[str]:
        """Return the problems of the inventory's files; only warn of a file that may be intended."""
        folder = Path(str(task_vars.get("inventory_dir")))
        groups = task_vars["groups"]
        found = list(unread_files(folder, groups["all"], list(groups))) if folder.is_dir() else []
        found += unread_inventories([Path(source) for source in task_vars["ansible_inventory_sources"]])
        for each in found:
            if not each.likely:
                self._display.warning(f"{relative(each.path)}: {each.name}: {each.message}")
        return [f"{relative(each.path)}: {each.name}: {each.message}" for each in found if each.likely]

    def _misread(self, task_vars: dict[str, Any], hosts: Iterable[str]) -> dict[str, str]:
        """Return a line for each value that YAML reads as something else, by its file, line and key."""
        chosen = set(hosts)
        groups = [group for group, members in task_vars["groups"].items() if chosen & set(members)]
        visible = {*_ROLES.variables, *VARIABLES} - set(_ROLES.secrets)
        folder = Path(str(task_vars.get("inventory_dir")))
        found: list[tuple[Path, set[str] | None]]
        found = [(path, None) for path in variable_files(folder, chosen, groups)]
        found += [(path, chosen) for path in inventory_files(task_vars["ansible_inventory_sources"])]
        return {
            f"{relative(path)}:{each.line}: {show_key(each.key)}:": f"{relative(path)}:{each.shown}"
            for path, only in found
            for each in misread_in(path, visible, only)
        }

    def _targets(self, task_vars: dict[str, Any]) -> list[str]:
        """Return the hosts of the play, regardless of --limit."""
        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader)
        hosts: list[str] = lookup.run(list(self._task.get_play().hosts), variables=task_vars)
        return hosts


def _pis(count: int) -> str:
    return "1 Pi" if count == 1 else f"{count} Pis"
