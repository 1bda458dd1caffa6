"""An operator's laptop in the lab's control network: an inventory, a vault, and Ansible run from there.

    with Lab("test") as lab:
        controller = Controller(lab)
        controller.add(lab.boot("pi-north"))
        controller.playbook("site.yml")

It uses what an operator uses: the repository's playbooks, its ansible.cfg, its group_vars/all, host keys
checked, the sudo password from an encrypted vault.
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

from tests.virtual_pi import Lab, Pi, places

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
ADDRESS = "192.168.2.100"
FIELD_ADDRESS = "192.168.1.100"

# Shared by the labs of this machine, as their root file system is.
WHEELS = places.CACHE / "wheelhouse"

# What differs from real Pis: the virtual wlan0 is a cable, and changes are confirmed in less time.
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
    """What a run of a playbook printed, and its recap."""

    returncode: int
    output: str

    def count(self, host: str, what: str) -> int:
        """Return a number of the recap: ok, changed, unreachable, failed, skipped, rescued or ignored."""
        found = re.search(rf"^{re.escape(host)}\s*:.*\b{what}=(\d+)", self.output, re.MULTILINE)
        if not found:
            raise AssertionError(f"no recap for {host} in:\n{self.output}")
        return int(found[1])


class Running:
    """A playbook that goes on by itself, to be watched and killed, or waited for."""

    def __init__(self, lab: Lab, process: subprocess.Popen[str], together: str) -> None:
        self._lab = lab
        self._process = process
        self._together = together
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process of ansible-playbook itself."""
        return self._process.pid

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return "".join(self._lines)

    def kill(self) -> None:
        """End it and all that it has started, SSH connections as well, as where the laptop breaks."""
        self._lab.kill(self._together)
        self._process.wait()
        self._reader.join(10)

    def wait(self, timeout: float = 120) -> Played:
        """Return what became of it. Raises subprocess.TimeoutExpired."""
        self._process.wait(timeout)
        # What it has left behind, as connections for the next, would hold its output open.
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
        # Each site is a group with variables of its own, beside those that all have in common.
        self.sites: dict[str, dict[str, Any]] = {"site_lab": {}}
        self._site_of: dict[str, str] = {}
        # As an operator does before leaving for a site: the control network has no Internet.
        subprocess.run(
            [sys.executable, REPOSITORY / "tools/wheelhouse.py", "--fetch", "--cache", WHEELS],
            check=True,
            capture_output=True,
        )
        self.known_hosts = lab.known_hosts
        # Where the playbooks are; a copy with another program in it stands for another release.
        self.repository = REPOSITORY
        self._started = 0
        self._password_file = lab.folder / "vault-password"
        self._password_file.write_text(secrets.token_urlsafe(24) + "\n")
        self._password_file.chmod(0o600)

    def add(self, pi: Pi, *, site: str = "site_lab", **variables: Any) -> None:
        """Put a Pi into the inventory, as fresh: it answers at the address that DHCP gave it."""
        if site == "site_lab":
            self.secrets["vault_become_password"] = pi.password
        self._site_of[pi.name] = site
        self.hosts[pi.name] = {"network_bootstrap_host": pi.bootstrap_address, **variables}
        self.write()

    def write(self) -> None:
        """Write the inventory: one site, a line a Pi, secrets in an encrypted vault."""
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
            # A Pi that is no longer there has no file, which nobody would read.
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
        """Return the command line of `ansible-playbook`, as an operator of this lab would type it."""
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
        """Return the environment for `command`: the repository's ansible.cfg, a cache of facts of its own."""
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
        """Run a playbook from the control namespace; raise AssertionError with its output where it fails."""
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
        """Start a playbook as `playbook` runs it, and don't wait; it is killed at the end of the block."""
        self._started += 1
        together = f"playbook-{self._started}"
        with self.lab.popen(
            "control",
            ["sh", "-c", 'exec "$@" 2>&1', "sh", *self.command(playbook, *arguments)],
            # Each line at once, as a terminal gets it.
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            cwd=self.repository,
            together=together,
        ) as process:
            running = Running(self.lab, process, together)
            try:
                yield running
            finally:
                running.kill()

    def ssh(self, pi: Pi, command: str, *, address: str = ADDRESS) -> subprocess.CompletedProcess[str]:
        """Run a command on the Pi over SSH, host key checked, as the playbooks come in."""
        return self.lab.run(
            "control",
            self.lab.ssh(pi, [command], address=address),
            check=False,
            timeout=30,
        )
