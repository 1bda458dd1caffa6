"""A build space: user, mount, process and host name namespaces in which a build can't change this machine.

In the user namespace, root has no capability over this machine: it can't set the clock, load modules or
reach the firewall and the settings of the network. Everything but the build's own folders is read-only.
Users keep their numbers, so that the files have their final owners.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
_NAMESPACES = ("--user", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
# As many users as a Debian system has, from root to nobody.
_USERS = "0 0 65536\n"


class BuildError(Exception):
    """The image can't be built. The text explains why, and how to fix it."""


@dataclass(frozen=True)
class Space:
    """A build space.

    writable: the folders that are not read-only. network: this machine's network, for packages; otherwise
    there is none. emulator: runs programs of the image's architecture. root: prepared for a chroot.
    """

    writable: tuple[Path, ...]
    network: bool = False
    emulator: Path | None = None
    root: Path | None = None

    def command(self, command: Sequence[str | Path]) -> list[str]:
        """Return the command line that `inside` gets."""
        options = [part for folder in self.writable for part in ("--writable", str(folder))]
        options += ["--emulator", str(self.emulator)] if self.emulator else []
        options += ["--root", str(self.root)] if self.root else []
        return [sys.executable, "-m", "tools.image.inside", *options, "--", *map(str, command)]

    def run(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        """Run a command in the space until it ends; its output is appended to `log`.

        Raises BuildError with the last lines if it fails.
        """
        reader, writer = os.pipe()
        # The shell waits until the users are mapped, and only then has a root that may mount.
        wait = 'read go && exec "$@" < /dev/null'
        words = ["sh", "-c", wait, "space", *self.command(command)]
        network = [] if self.network else ["--net"]
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["unshare", *_NAMESPACES, *network, *words],
                cwd=_REPOSITORY,
                env={**os.environ, **(env or {})},
                stdin=reader,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            os.close(reader)
            try:
                _map_users(process)
                os.write(writer, b"go\n")
            finally:
                os.close(writer)
            code = process.wait()
        if code != 0:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise BuildError(f"{command[0]} failed with exit status {code} ({log}):\n{last}")


def _map_users(process: subprocess.Popen[bytes]) -> None:
    own = os.readlink("/proc/self/ns/user")
    deadline = time.monotonic() + 10
    while os.readlink(f"/proc/{process.pid}/ns/user") == own:
        if process.poll() is not None or time.monotonic() > deadline:
            raise BuildError("this machine does not permit user namespaces (sysctl user.max_user_namespaces)")
        time.sleep(0.01)
    for name in ("gid_map", "uid_map"):
        Path(f"/proc/{process.pid}/{name}").write_text(_USERS)
