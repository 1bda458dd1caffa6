"""Runs the machine's own tools, and reports clearly what went wrong with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class LabError(Exception):
    """The lab can't do what was requested. The text explains why, and how to fix it."""


class CommandError(LabError, subprocess.CalledProcessError):
    """A command failed. The text includes the last lines of its output."""

    def __str__(self) -> str:
        output = "\n".join(part.strip() for part in (self.stdout, self.stderr) if part and part.strip())
        return f"{' '.join(map(str, self.cmd))}: exit status {self.returncode}\n{last_lines(output)}".rstrip()


# Each program that the lab starts, and the Debian package that contains it.
PROGRAMS = {
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment() -> dict[str, str]:
    """Return this process's environment, with the folders of administrative programs in its PATH."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")}


def require_machine() -> None:
    """Raise LabError unless this process is root and the required packages are installed."""
    if os.geteuid() != 0:
        raise LabError("virtual Pis need root for network namespaces and mounts: start this with sudo")
    missing = sorted(
        {package for name, package in PROGRAMS.items() if not shutil.which(name, path=SYSTEM_PATH)}
    )
    if missing:
        raise LabError(
            f"missing packages: {' '.join(missing)}; install them with: apt-get install {' '.join(missing)}"
        )


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    timeout: float | None = 60,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    stdin: str = "",
    capture: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command until it ends, with `stdin` as its input.

    timeout: seconds until it is killed and subprocess.TimeoutExpired is raised; None waits forever.
    capture: collect its output as text; otherwise it goes to this process's own output.
    Raises CommandError on a non-zero exit status if `check` is set.
    """
    pipe = subprocess.PIPE if capture else None
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        timeout=timeout,
        env=environment() if env is None else env,
        cwd=cwd,
        input=stdin,
        stdout=pipe,
        stderr=pipe,
        text=True,
        errors="replace",
    )
    if check and done.returncode != 0:
        raise CommandError(done.returncode, done.args, done.stdout, done.stderr)
    return done


def last_lines(text: str, count: int = 30) -> str:
    return "\n".join(text.splitlines()[-count:])


def tail(log: Path, count: int = 30) -> str:
    """Return the last lines of a log file, or a note that there is no such file."""
    if not log.exists():
        return f"({log} was never written)"
    return last_lines(log.read_text(errors="replace"), count)
