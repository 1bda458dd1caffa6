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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.image import process
from tools.image.process import BuildError

_NAMESPACES = ("--user", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
# As many users as a Debian system has, from root to nobody.
_USERS = "0 0 65536\n"


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

    def run(
        self,
        command: Sequence[str | Path],
        log: Path,
        progress: Callable[[str], None] = lambda _: None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command in the space until it ends, as `process.run` does. Raises BuildError if it fails."""
        reader, writer = os.pipe()
        # The shell waits until the users are mapped, and only then has a root that may mount.
        words = ["sh", "-c", 'read go && exec "$@" < /dev/null', "space", *self.command(command)]
        network = [] if self.network else ["--net"]
        with log.open("ab") as output:
            started = subprocess.Popen(
                ["unshare", *_NAMESPACES, *network, *words],
                cwd=process.REPOSITORY,
                env={**os.environ, **(env or {})},
                stdin=reader,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            os.close(reader)
            try:
                _map_users(started)
                os.write(writer, b"go\n")
            finally:
                os.close(writer)
            process.follow(started, str(command[0]), log, progress)


def _map_users(started: subprocess.Popen[bytes]) -> None:
    own = os.readlink("/proc/self/ns/user")
    deadline = time.monotonic() + 10
    while os.readlink(f"/proc/{started.pid}/ns/user") == own:
        if started.poll() is not None or time.monotonic() > deadline:
            raise BuildError("this machine does not permit user namespaces (sysctl user.max_user_namespaces)")
        time.sleep(0.01)
    for name in ("gid_map", "uid_map"):
        Path(f"/proc/{started.pid}/{name}").write_text(_USERS)
