"""A small inventory in a folder of its own, and the preflight run over it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ansible.parsing.vault import VaultLib, VaultSecret

REPOSITORY = Path(__file__).resolve().parents[3]

# The secrets of the inventory's vault; no output may contain them.
PASSPHRASE = "correct-horse-battery"  # noqa: S105 - used nowhere else.
SUDO_PASSWORD = "staple-of-sudo"  # noqa: S105
FROM_VAULT = {"sudo": '"{{ vault_sudo }}"', "psk": '"{{ vault_psk }}"'}
VAULT_PASSWORD = "opens-the-vault-of-the-tests"  # noqa: S105

PLAY = """
- name: Check
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: Check before any Pi is touched
      ansible.builtin.import_role:
        name: preflight

- name: Touch
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: Get here
      ansible.builtin.debug:
        msg: a Pi was touched
      connection: local
      vars: {ansible_host: localhost, ansible_user: "", ansible_become_password: ""}
"""

ALL = f"""
ansible_user: pi
ansible_host: "{{{{ network_control_address | ansible.utils.ipaddr('address') }}}}"
ansible_become_password: {FROM_VAULT["sudo"]}
network_country: DE
network_field_ssid: north-field
network_field_psk: {FROM_VAULT["psk"]}
"""


@cache
def encrypted(text: str) -> str:
    """Return a text as ansible-vault would keep it, under VAULT_PASSWORD."""
    secret = VaultSecret(VAULT_PASSWORD.encode())
    return str(VaultLib([("default", secret)]).encrypt(text, secret).decode())


def good_host(number: int) -> str:
    """Return the variables of a Pi without problems."""
    return f"network_field_address: 192.168.1.{number}/24\nnetwork_control_address: 192.168.2.{number}/24\n"


@dataclass(frozen=True)
class Outcome:
    """What a run printed, colours off."""

    returncode: int
    output: str

    @property
    def problems(self) -> list[str]:
        """Return the lines that begin with a file of the inventory."""
        return [line for line in self.output.splitlines() if line.startswith(("inventory/", "command line"))]

    def only(self, part: str) -> str:
        """Return the one problem with these words in it."""
        found = [line for line in self.problems if part in line]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} problems have {part!r}:\n{self.output}")
        return found[0]


class Site:
    """An inventory under construction."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("site.yml", PLAY)
        self.write("inventory/group_vars/all.yml", ALL)
        self.write("vault-of-the-tests", VAULT_PASSWORD)
        self.write(
            "inventory/group_vars/smart_meters.yml",
            encrypted(f"vault_sudo: {SUDO_PASSWORD}\nvault_psk: {PASSPHRASE}\n"),
        )

    def write(self, path: str, text: str) -> None:
        """Write a file, given by its path in the folder."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def hosts(self, hosts: Mapping[str, str]) -> None:
        """Write hosts.yml, and each host's variables into its host_vars."""
        self.write(
            "inventory/hosts.yml", "smart_meters:\n  hosts:\n" + "".join(f"    {name}:\n" for name in hosts)
        )
        for name, variables in hosts.items():
            self.write(f"inventory/host_vars/{name}.yml", variables)

    def play(
        self, *arguments: str, playbook: str = "site.yml", inventory: str = "inventory", **environment: str
    ) -> Outcome:
        """Run a playbook over the inventory; an empty name: that in the arguments."""
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        run = subprocess.run(
            [program, *(["-i", inventory] if inventory else []), playbook, *arguments],
            cwd=self.folder,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
                "ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"),
                "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.memory",
                "ANSIBLE_VAULT_IDENTITY_LIST": "default@vault-of-the-tests",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Outcome(run.returncode, run.stdout + run.stderr)
