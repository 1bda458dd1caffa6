"""An operator's laptop in the lab's control network: an inventory, a vault, and Ansible.

    with Lab("test") as lab:
        controller = Controller(lab)
        controller.add(lab.boot("pi-north"))
        controller.playbook("site.yml")

It works as an operator does: with the repository's playbooks, ansible.cfg and group_vars/all, with checked
host keys, and with the sudo password in an encrypted vault.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.virtual_pi import PLAIN, Lab, Pi, places

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
ADDRESS = "192.168.2.100"
FIELD_ADDRESS = "192.168.1.100"

# Shared by the labs of this machine, like their root file system.
WHEELS = places.CACHE / "wheelhouse"

# The differences from real Pis: the virtual wlan0 is a cable, and changes must be confirmed sooner.
SITE: dict[str, Any] = {
    "network_field_address": f"{FIELD_ADDRESS}/24",
    "network_control_address": f"{ADDRESS}/24",
    "network_field_type": "ethernet",
    "concentrator_cache": str(WHEELS),
    "network_confirm_seconds": 45,
    "firewall_confirm_seconds": 30,
}


@dataclass(frozen=True)
class Played:
    """The output and recap of a finished playbook run."""

    returncode: int
    output: str

    def count(self, host: str, what: str) -> int:
        """Return a count of the recap: ok, changed, unreachable, failed, skipped, rescued or ignored."""
        found = re.search(rf"^{re.escape(host)}\s*:.*\b{what}=(\d+)", self.output, re.MULTILINE)
        if not found:
            raise AssertionError(f"no recap for {host} in:\n{self.output}")
        return int(found[1])

    def changed_tasks(self, host: str) -> list[str]:
        """Return the names of the tasks that changed something on a host."""
        tasks = re.split(r"(?m)^TASK \[", self.output)[1:]
        return [
            task.partition("]")[0] for task in tasks if re.search(rf"(?m)^changed: \[{re.escape(host)}", task)
        ]


class Running:
    """A playbook that runs in the background."""

    def __init__(self, lab: Lab, process: subprocess.Popen[str], group: str) -> None:
        self._lab = lab
        self._process = process
        self._group = group
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process ID of ansible-playbook."""
        return self._process.pid

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def output(self) -> str:
        """The output so far."""
        return "".join(self._lines)

    def kill(self) -> None:
        """Kill the playbook and all it has started, SSH connections included, as when the laptop fails."""
        self._lab.kill(self._group)
        self._process.wait()
        self._reader.join(10)

    def wait(self, timeout: float = 120) -> Played:
        """Wait for the end and return the result. Raises subprocess.TimeoutExpired."""
        self._process.wait(timeout)
        # SSH connections that it left open for the next run would keep its output open.
        self.kill()
        return Played(self._process.returncode, self.output)

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(iter(self._process.stdout.readline, ""))


class Controller:
    """Runs the repository's playbooks against the Pis of a lab."""

    def __init__(self, lab: Lab, site: Mapping[str, Any] | None = None) -> None:
        self.lab = lab
        self.secrets = {
            "vault_become_password": "",
            "vault_network_field_psk": secrets.token_urlsafe(16),
        }
        self.inventory = lab.folder / "inventory"
        self.hosts: dict[str, dict[str, Any]] = {}
        self.site = {**SITE, **(site or {})}
        # Each site is a group, with variables in addition to those of all sites.
        self.sites: dict[str, dict[str, Any]] = {"site_lab": {}}
        self._site_of: dict[str, str] = {}
        # As an operator does before travelling to a site, because the control network has no Internet access.
        subprocess.run(
            [sys.executable, REPOSITORY / "tools/wheelhouse.py", "--fetch", "--cache", WHEELS],
            check=True,
            capture_output=True,
        )
        self.known_hosts = lab.known_hosts
        # The folder with the playbooks. Tests replace it by a copy with another release.
        self.repository = REPOSITORY
        self._started = 0
        self._password_file = lab.folder / "vault-password"
        self._password_file.write_text(secrets.token_urlsafe(24) + "\n")
        self._password_file.chmod(0o600)

    def add(self, pi: Pi, *, site: str = "site_lab", **variables: Any) -> None:
        """Add a fresh Pi, which has a DHCP address, to the inventory."""
        if site == "site_lab":
            self.secrets["vault_become_password"] = pi.password
        self._site_of[pi.name] = site
        user = {} if pi.user == PLAIN.user else {"ansible_user": pi.user}
        self.hosts[pi.name] = {"network_bootstrap_host": pi.bootstrap_address, **user, **variables}
        self.write()

    def write(self) -> None:
        """Write the inventory: sites, hosts, and secrets in an encrypted vault."""
        shared = self.inventory / "group_vars" / "all"
        shared.mkdir(parents=True, exist_ok=True)
        (self.inventory / "host_vars").mkdir(exist_ok=True)
        connection = (REPOSITORY / "inventory/group_vars/all/connection.yml").read_text()
        (shared / "connection.yml").write_text(connection)
        groups = {
            site: {"hosts": dict.fromkeys(n for n in self.hosts if self._site_of.get(n, "site_lab") == site)}
            for site in self.sites
        }
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"smart_meters": {"children": groups}}))
        for site, variables in self.sites.items():
            text = yaml.safe_dump({**self.site, **variables})
            (self.inventory / "group_vars" / f"{site}.yml").write_text(text)
        for path in (self.inventory / "host_vars").iterdir():
            # The file of a Pi that is not in the inventory any more would not be read.
            path.unlink()
        for name, variables in self.hosts.items():
            (self.inventory / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(variables))
        vault = shared / "vault.yml"
        vault.unlink(missing_ok=True)
        subprocess.run(
            [
                PROGRAMS / "ansible-vault",
                "encrypt",
                "--vault-password-file",
                self._password_file,
                "--output",
                vault,
            ],
            input=yaml.safe_dump(self.secrets),
            check=True,
            text=True,
            capture_output=True,
        )

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """Return the command line of `ansible-playbook` as an operator of this lab would type it."""
        return [
            str(PROGRAMS / "ansible-playbook"),
            f"--inventory={self.inventory / 'hosts.yml'}",
            f"--vault-password-file={self._password_file}",
            f"--private-key={self.lab.ssh_key}",
            f"--ssh-extra-args=-o UserKnownHostsFile={self.known_hosts}",
            str(self.repository / "playbooks" / playbook),
            *arguments,
        ]

    @property
    def environment(self) -> dict[str, str]:
        """The environment for `command`: the repository's ansible.cfg, and a separate cache of facts."""
        return {
            "PATH": f"{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.lab.folder),
            "LANG": "C.UTF-8",
            "ANSIBLE_CONFIG": str(self.repository / "ansible.cfg"),
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.lab.folder / "facts"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def playbook(
        self,
        playbook: str,
        *arguments: str,
        check: bool = True,
        timeout: float = 900,
        env: Mapping[str, str] | None = None,
    ) -> Played:
        """Run a playbook from the control network. Raises AssertionError with its output if it fails."""
        done = self.lab.run(
            "control",
            self.command(playbook, *arguments),
            check=False,
            timeout=timeout,
            env={**self.environment, **(env or {})},
            cwd=self.repository,
        )
        played = Played(done.returncode, done.stdout + done.stderr)
        if check and played.returncode:
            raise AssertionError(f"{playbook} {' '.join(arguments)} failed:\n{played.output}")
        return played

    @contextmanager
    def started(self, playbook: str, *arguments: str) -> Iterator[Running]:
        """Start a playbook in the background, as `playbook` runs it; kill it at the end of the block."""
        self._started += 1
        group = f"playbook-{self._started}"
        with self.lab.popen(
            "control",
            ["sh", "-c", 'exec "$@" 2>&1', "sh", *self.command(playbook, *arguments)],
            # Line by line, as on a terminal.
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            cwd=self.repository,
            group=group,
        ) as process:
            running = Running(self.lab, process, group)
            try:
                yield running
            finally:
                running.kill()

    def ssh(self, pi: Pi, command: str, *, address: str = ADDRESS) -> subprocess.CompletedProcess[str]:
        """Run a command on the Pi over SSH with a checked host key, as the playbooks connect."""
        return self.lab.run(
            "control",
            self.lab.ssh(pi, [command], address=address),
            check=False,
            timeout=30,
        )
