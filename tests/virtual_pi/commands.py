"""Starting the machine's own tools, and telling clearly what went wrong with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class LabError(Exception):
    """The lab can't do what was asked; the text says why, and what would mend it."""


class CommandError(LabError, subprocess.CalledProcessError):
    """A command ended with another status than 0; its text carries the end of what the command said."""

    def __str__(self) -> str:
        said = "\n".join(part.strip() for part in (self.stdout, self.stderr) if part and part.strip())
        return f"{' '.join(map(str, self.cmd))}: exit status {self.returncode}\n{last_lines(said)}".rstrip()


# Each program that the lab starts, and the Debian package that brings it.
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
    """Return this process's environment, with the administrator's programs in its PATH."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")}


def require_machine() -> None:
    """Raise LabError unless this process may and can build labs here."""
    if os.geteuid() != 0:
        raise LabError("virtual Pis need root, to make network namespaces and mounts: start this with sudo")
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
    """Run a command to its end, with `stdin` as its input.

    timeout: seconds, after which it is killed and subprocess.TimeoutExpired raised; None waits for ever.
    capture: collect its output as text; without, it goes where this process's own output goes.
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


def end_of(log: Path, count: int = 30) -> str:
    """Return the last lines of a log file, or say that there is none."""
    if not log.exists():
        return f"({log} was never written)"
    return last_lines(log.read_text(errors="replace"), count)
