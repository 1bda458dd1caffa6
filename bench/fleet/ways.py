"""Three commands that the operator runs on the same Pis: ours, pyinfra, and a loop of `ssh PI true`.

Each method returns the seconds from its command's start to its end. All start without an open connection:
Ansible keeps SSH connections open for a minute, but each run uses another folder for their sockets.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fleet.site import CONFIG, RUNNING, Site, address
from bench.programs import BenchError

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[1]
PYINFRA = _REPOSITORY / ".cache/peers/bin/pyinfra"
# Each Pi has two configurations, which differ in the scale of the first measurement.
SCALES = (10, 100)


@dataclass
class Ways:
    """The commands to measure. `folder` is a private folder for pyinfra's files."""

    site: Site
    folder: Path

    def floor(self, names: Sequence[str]) -> float:
        """Log in to one Pi after another, and do nothing."""
        lines = [
            shlex.join(self.site.lab.ssh(self.site.lab.pi(name), ["true"], address=address(name)))
            for name in names
        ]
        return self._timed(["sh", "-euc", "\n".join(lines)], {})

    def ours(self, names: Sequence[str], scale: int) -> float:
        """Redeploy with playbooks/configure.yml. If the Pis have that scale already, it changes nothing."""
        self.site.set_scale(scale)
        command = self.site.controller.command("configure.yml", "--diff", "--limit", ",".join(names))
        with tempfile.TemporaryDirectory(dir=self.folder) as connections:
            environment = {**self.site.controller.environment, "ANSIBLE_SSH_CONTROL_PATH_DIR": connections}
            return self._timed(command, environment)

    def pyinfra(self, names: Sequence[str], scale: int) -> float:
        """Redeploy with pyinfra, from files that ours has rendered. It does not prove the result."""
        hosts = self.folder / "hosts.json"
        hosts.write_text(json.dumps([self._peer(name, scale) for name in names]))
        command = [str(PYINFRA), "-y", _HERE / "pyinfra_inventory.py", _HERE / "pyinfra_deploy.py"]
        return self._timed(
            [str(part) for part in command],
            {**self.site.controller.environment, "BENCH_FLEET_HOSTS": str(hosts)},
        )

    def prepare_pyinfra(self) -> None:
        """Deploy both configurations to all Pis with ours, and save the files as sources for pyinfra."""
        self.folder.chmod(0o700)
        for scale in reversed(SCALES):
            self.ours(self.site.names, scale)
            for name in self.site.names:
                self._file(name, scale).write_text(self.site.read(name, CONFIG))
        lines = [line.split(" ", 1) for line in self.site.lab.known_hosts.read_text().splitlines()]
        known = [f"{address(name)} {key}\n" for name, key in lines]
        (self.folder / "known_hosts").write_text("".join(known))

    def check(self, names: Sequence[str], scale: int) -> None:
        """Raise BenchError unless every Pi's service runs with that scale."""
        for name in names:
            if self.site.read(name, RUNNING) != self._file(name, scale).read_text():
                raise BenchError(f"{name} does not run with the scale {scale}")

    def _peer(self, name: str, scale: int) -> tuple[str, dict[str, object]]:
        return name, {
            "ssh_hostname": address(name),
            "ssh_user": self.site.lab.pi(name).user,
            "ssh_key": str(self.site.lab.ssh_key),
            "ssh_known_hosts_file": str(self.folder / "known_hosts"),
            "ssh_strict_host_key_checking": "yes",
            "_sudo": True,
            "_sudo_password": self.site.lab.password,
            "configuration": str(self._file(name, scale)),
        }

    def _file(self, name: str, scale: int) -> Path:
        return self.folder / f"{name}.{scale}.toml"

    def _timed(self, command: Sequence[str], environment: Mapping[str, str]) -> float:
        started = time.monotonic()
        done = self.site.lab.run(
            "control", command, check=False, timeout=600, env=environment or None, cwd=_REPOSITORY
        )
        took = time.monotonic() - started
        if done.returncode:
            raise BenchError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
        return took
