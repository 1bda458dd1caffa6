"""The guard as a Pi gets it, in a temporary folder."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from roles.concentrator.rollout.pi import FILES
from tests.unit.roles.site import REPOSITORY

from smart_meter.log.audit.kinds import BY_ROOT

GUARD = REPOSITORY / "tests/unit/roles/golden/default/usr/local/sbin/smart-meter-guard"
LINE = re.compile(rf"\d{{10}} ({'|'.join(kind.value for kind in BY_ROOT)}) (.+)")


class Machine:
    """A guard whose folder and whose programs are in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved = folder / "guard"
        self.events = self.saved / "events"
        self.calls = folder / "calls"
        self.calls.touch()
        self.changed = folder / "config.toml"
        self.changed.write_text("old")
        (folder / "bin").mkdir()
        (folder / "opt/releases/1.0").mkdir(parents=True)
        (folder / "opt/current").symlink_to("releases/1.0")
        for name in ("systemctl", "systemd-run", "sync", "netplan"):
            self.program(folder / "bin" / name, f'echo "{name} $*" >> {self.calls}')
        self.smart_meter(f'echo "smart-meter $*" >> {self.calls}')
        self._install("smart-meter-guard", GUARD.read_text(encoding="utf-8"))

    def _install(self, name: str, script: str) -> None:
        script = script.replace("/var/lib/smart-meter-guard", str(self.saved))
        script = script.replace("/opt/smart-meter/current/bin/", f"{self.folder}/bin/")
        for place in ("/etc/NetworkManager", "/etc/netplan", "/etc/ufw", "/run/NetworkManager"):
            script = script.replace(place, f"{self.folder}{place}")
        path = self.folder / "bin" / name
        path.write_text(script.replace("/opt/smart-meter", f"{self.folder}/opt"))
        path.chmod(0o755)

    def program(self, path: Path, commands: str) -> None:
        path.write_text(f"#!/bin/sh\n{commands}\n")
        path.chmod(0o755)

    def smart_meter(self, commands: str) -> None:
        """Set what the release's program does."""
        self.program(self.folder / "bin/smart-meter", commands)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=30, env={"PATH": path}
        )

    def guard(self, *arguments: str) -> None:
        done = self.run("smart-meter-guard", *arguments)
        assert done.returncode == 0, done.stderr

    def activate(self, release: str, kind: str) -> None:
        """Run activate.sh."""
        self._install("activate", (FILES / "activate.sh").read_text(encoding="utf-8"))
        done = self.run("activate", release, "60", kind)
        assert done.returncode == 0, done.stderr
        assert (self.folder / "opt/current").readlink() == Path("releases") / release

    def begin(self) -> None:
        """Begin a change of the configuration, and make it."""
        self.changed.write_text("old")
        self.guard("begin", "configuration", "60", str(self.changed))
        self.changed.write_text("new")

    def noted(self) -> list[tuple[str, str]]:
        """Return the kind and the text of each event that waits."""
        found = [LINE.fullmatch(line) for line in self.events.read_text().splitlines()]
        assert all(found)
        return [(line[1], line[2]) for line in found if line is not None]

    def sent(self) -> int:
        """Return how many times the events were sent."""
        return self.calls.read_text().splitlines().count("smart-meter events send-waiting")
