"""Filters of the role `firewall`: its rules, and the script that changes them."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules import admission  # noqa: E402 - the path comes first.

_COMMENT = re.compile(r" comment '[^']*'$")
# Prints each rule that is in force, or the one that failed and why, and stops there.
_APPLY = """\
apply() {
    rule=$1
    shift
    if found=$("$@" 2>&1); then
        echo "$rule"
    else
        echo "$rule: $(echo "$found" | tr '\\n' ' ')"
        exit 1
    fi
}
"""


class FilterModule:
    """Ansible looks for this class in the role."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {
            "firewall_lines": lines,
            "firewall_lockout": lockout,
            "firewall_script": script,
            "firewall_ssh_rules": ssh_rules,
        }


def ssh_rules(networks: Sequence[str], zones: Sequence[Mapping[str, str]], port: int) -> list[dict[str, Any]]:
    """Return the rules that admit SSH. zones: interface, address (with prefix length) and gateway of each."""
    return admission.ssh_rules(networks, _zones(zones), port)


def lines(rules: Iterable[admission.Rule]) -> list[str]:
    """Return each rule as `ufw show added` spells it."""
    found = []
    for rule in rules:
        interface = f" in on {rule['interface']}" if rule.get("interface") else ""
        found.append(
            f"ufw allow{interface} from {rule['from']} to {rule.get('to', 'any')}"
            f" port {rule['port']} proto {rule.get('proto', 'tcp')} comment '{rule['comment']}'"
        )
    return found


def lockout(
    connection: str,
    rules: Sequence[admission.Rule],
    zones: Sequence[Mapping[str, str]],
    networks: Sequence[str],
) -> str:
    """Return why the rules would not admit the controller again; empty if they would."""
    return admission.lockout(connection.strip(), rules, _zones(zones), networks)


def script(wanted: Sequence[str], present: Sequence[str], policies: Sequence[str], *, enable: bool) -> str:
    """Return the shell script that makes the rules those of the inventory.

    wanted, present: rules as `ufw show added` spells them. policies: arguments of `ufw default`.
    First what admits, then what no longer does, so that the controller is admitted all the time.
    """
    bare = {_COMMENT.sub("", line) for line in wanted}
    commands = [(f"ufw default {policy}", ["ufw", "default", *policy.split()]) for policy in policies]
    commands += [(line, _words(line)) for line in wanted if line not in present]
    # If only the comment differs, adding it has changed it, and deleting the rule would delete the new one.
    commands += [
        (line, _deletion(line))
        for line in present
        if line not in wanted and _COMMENT.sub("", line) not in bare
    ]
    if enable:
        commands.append(("ufw enable", ["ufw", "--force", "enable"]))
    calls = [f"apply {shlex.quote(name)} {shlex.join(words)}" for name, words in commands]
    return "\n".join([_APPLY, *calls, ""])


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    if len(words) < 3 or words[0] != "ufw":
        raise AnsibleFilterError(
            f"{line} is not a rule of ufw; delete it on the Pi (sudo ufw status numbered)"
        )
    return words


def _deletion(line: str) -> list[str]:
    """Return the command that deletes a rule: `ufw delete RULE`, or for a route `ufw route delete RULE`."""
    words = _words(_COMMENT.sub("", line))
    route = words[1] == "route"
    return ["ufw", "--force", *(["route"] if route else []), "delete", *words[2 if route else 1 :]]


def _zones(zones: Iterable[Mapping[str, str]]) -> list[admission.Zone]:
    return [
        admission.Zone(str(zone["interface"]), IPv4Interface(zone["address"]), bool(zone["gateway"]))
        for zone in zones
    ]
