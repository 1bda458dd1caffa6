"""The example inventory as an operator uses it: vaults, two sites with the same addresses, AWX."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
EXAMPLES = ("the-password-of-the-user-pi", "the-passphrase-of-the-wifi")


class Desk:
    """A project's folder with the example inventory, its vaults, and the check of the playbooks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"
        ignored = shutil.ignore_patterns("vault.yml", ".vault-password*")
        shutil.copytree(REPOSITORY / "inventory", self.inventory, ignore=ignored)
        (folder / "playbooks").mkdir()
        shutil.copy(REPOSITORY / "playbooks/check.yml", folder / "playbooks")

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
                "ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"),
                "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.memory",
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
                "ANSIBLE_NOCOLOR": "1",
                "INVENTORY": str(self.inventory),
                "EDITOR": "true",
                **environment,
            },
            check=False,
            capture_output=True,
            text=True,
        )

    def vault(self, *site: str) -> subprocess.CompletedProcess[str]:
        return self.run(REPOSITORY / "tools/vault", *site)

    @property
    def passwords(self) -> list[str]:
        """Return the arguments for all passwords that are there, as the Makefile gives them."""
        arguments = []
        for file in sorted(self.inventory.glob(".vault-password*")):
            site = file.name.removeprefix(".vault-password").removeprefix("-")
            arguments.append(f"--vault-id={site or 'default'}@{file}")
        return arguments

    def check(
        self, *arguments: str, inventory: str = "inventory/hosts.yml"
    ) -> subprocess.CompletedProcess[str]:
        program = PROGRAMS / "ansible-playbook"
        return self.run(program, "-i", inventory, *self.passwords, "playbooks/check.yml", *arguments)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_fleet_is_two_sites_with_three_pis() -> None:
    sites = yaml.safe_load((REPOSITORY / "inventory/hosts.yml").read_text())["smart_meters"]["children"]
    assert list(sites) == ["site_north", "site_south"]
    assert sum(len(site["hosts"]) for site in sites.values()) == 3
    for site in sites:
        own = sorted(path.name for path in (REPOSITORY / "inventory/group_vars" / site).iterdir())
        assert "main.yml" in own
        assert set(own) <= {"main.yml", "vault.yml"}


def test_one_vault_for_all_sites_is_enough(desk: Desk) -> None:
    assert desk.vault().returncode == 0
    done = desk.check()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "touched" not in done.stdout


def test_a_site_has_a_vault_with_a_password_of_its_own(desk: Desk) -> None:
    for site in ([], ["north"]):
        done = desk.vault(*site)
        assert done.returncode == 0, done.stderr
        assert not any(secret in done.stdout + done.stderr for secret in EXAMPLES)
    vault = desk.inventory / "group_vars/site_north/vault.yml"
    assert vault.read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;north\n")
    assert desk.check().returncode == 0
    for file in (vault, desk.inventory / ".vault-password", desk.inventory / ".vault-password-north"):
        assert file.stat().st_mode & 0o077 == 0, file
    # The fleet's password does not open it.
    (desk.inventory / ".vault-password-north").unlink()
    assert desk.vault("north").returncode == 1
    assert desk.check().returncode != 0


def test_one_sites_password_is_enough_to_work_on_that_site(desk: Desk) -> None:
    for site in ("north", "south"):
        assert desk.vault(site).returncode == 0
    (desk.inventory / ".vault-password-south").unlink()
    done = desk.check("--limit", "site_north")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not compared, because their variables can't be read here: pi-south" in done.stderr


@pytest.mark.parametrize("name", ["east", "North", "../north"])
def test_there_is_no_vault_without_a_site(desk: Desk, name: str) -> None:
    assert desk.vault(name).returncode != 0
    assert not list(desk.inventory.rglob("vault.yml"))


def test_a_vault_that_was_left_decrypted_is_refused(desk: Desk) -> None:
    desk.vault("south")
    shutil.copy(desk.inventory / "vault.example.yml", desk.inventory / "group_vars/all/vault.yml")
    done = desk.check()
    assert done.returncode == 2
    problems = [line for line in done.stderr.splitlines() + done.stdout.splitlines() if "plain text" in line]
    assert sorted(line.split(": ")[1] for line in problems) == [
        "vault_become_password",
        "vault_network_field_psk",
    ]
    for line in problems:
        assert line.startswith("inventory/group_vars/all/vault.yml:")
        assert line.endswith(
            "is in plain text (its value is not shown); "
            "encrypt the file (ansible-vault encrypt), or keep the value in the vault (make vault)"
        )
    assert not any(secret in done.stdout + done.stderr for secret in EXAMPLES)


def test_two_sites_with_the_same_addresses_need_different_routes(desk: Desk) -> None:
    desk.vault()
    south = desk.inventory / "group_vars/site_south/main.yml"
    lines = south.read_text().splitlines(keepends=True)
    south.write_text("".join(line for line in lines if not line.startswith("preflight_jump_host")))
    done = desk.check()
    assert done.returncode == 2
    assert re.search(
        r"ansible_host: 192.168.2.100 of pi-south is ansible_host of pi-north already "
        r"\(inventory/group_vars/all/connection.yml:\d+\); give each site a preflight_jump_host of its own, "
        r"or each Pi an ansible_host that leads to it",
        done.stdout,
    )
    # A Pi's address in a VPN is such a way.
    (desk.inventory / "host_vars/pi-south.yml").write_text("ansible_host: 10.8.0.21\n")
    assert desk.check().returncode == 0


def test_ssh_goes_through_the_sites_jump_host(desk: Desk) -> None:
    desk.vault()
    said = desk.run(
        PROGRAMS / "ansible", "-i", "inventory/hosts.yml", *desk.passwords, "smart_meters",
        "-m", "ansible.builtin.debug", "-a", "msg='{{ ansible_ssh_common_args | trim }}'",
    ).stdout  # fmt: skip
    words = " ".join(said.split())
    assert re.search(
        r"HostKeyAlias=pi-south -o StrictHostKeyChecking=yes [^{]* ProxyJump=gate.south.example", words
    )
    assert words.count("ProxyJump") == 1


def test_no_pi_uses_the_open_connection_of_another_with_the_same_address(desk: Desk) -> None:
    """Ansible's own name for it is made of address, port and user."""
    desk.vault()
    said = desk.run(
        PROGRAMS / "ansible", "-i", "inventory/hosts.yml", *desk.passwords, "pi-north:pi-south",
        "-m", "ansible.builtin.debug", "-a", "msg='{{ ansible_host }} {{ ansible_control_path }}'",
    ).stdout  # fmt: skip
    found = re.findall(r"192\.168\.2\.100 (%\(directory\)s/[0-9a-f]{16})\b", said)
    assert len(found) == 2, said
    assert len(set(found)) == 2


def test_an_added_site_passes_the_check_with_its_first_pi(desk: Desk) -> None:
    desk.vault()
    done = desk.run(sys.executable, REPOSITORY / "tools/add_site.py", "east", "--inventory", desk.inventory)
    assert done.returncode == 0, done.stderr
    assert desk.check().returncode == 0, "a site without Pis is not a problem"
    hosts = desk.inventory / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("# pi-east:", "pi-east:"))
    variables = desk.inventory / "group_vars/site_east/main.yml"
    assert "preflight_jump_host of its own" in desk.check().stdout
    variables.write_text(variables.read_text().replace("# preflight_jump_host:", "preflight_jump_host:"))
    done = desk.check()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 Pis checked, nothing to fix" in done.stdout


def test_an_exported_inventory_passes_with_vaults_beside_the_playbooks(desk: Desk) -> None:
    """As AWX does it: a sync without any vault password exports the inventory, a job runs with that."""
    export = ["ansible-inventory", "-i", "inventory/hosts.yml", "--list", "--export"]
    desk.vault()
    done = desk.run(PROGRAMS / export[0], *export[1:])
    assert done.returncode != 0, "a vault within the inventory stops such a sync"
    beside = desk.folder / "playbooks/group_vars/all"
    beside.mkdir(parents=True)
    (desk.inventory / "group_vars/all/vault.yml").rename(beside / "vault.yml")
    done = desk.run(PROGRAMS / export[0], *export[1:])
    assert done.returncode == 0, done.stderr
    assert not any(secret in done.stdout for secret in EXAMPLES)
    script = desk.folder / "exported/hosts"
    script.parent.mkdir()
    (script.parent / "inventory.json").write_text(done.stdout)
    script.write_text("#!/bin/sh\ncat exported/inventory.json\n")
    script.chmod(0o755)
    done = desk.check(inventory="exported/hosts")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 Pis checked, nothing to fix" in done.stdout
