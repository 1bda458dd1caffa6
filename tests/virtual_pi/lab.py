"""A lab: its networks, its Pis, and the way to run programs in any of them."""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from tests.virtual_pi import (
    card,
    cgroups,
    container,
    limits,
    networks,
    places,
    removal,
    rootfs,
    state,
    uplink,
)
from tests.virtual_pi.commands import SYSTEM_PATH, CommandError, LabError, environment, require_machine, run
from tests.virtual_pi.pi import Pi
from tests.virtual_pi.state import LabState, PiState


class Lab:
    """A lab of a given name: `up` makes it, `boot` adds Pis, `down` removes all of it.

    As a context manager it does both, and removes first what a run of the same name may have left behind.
    keep: leave it up at the end of the context; another process finds it with `Lab.attach`.
    say: is told each step in a line of text.
    """

    def __init__(self, name: str, *, keep: bool = False, say: Callable[[str], None] | None = None) -> None:
        self.name = places.check_lab_name(name)
        self.keep = keep
        self.say = say or (lambda _: None)
        self.folder = places.state_folder(name)
        self.ssh_key = self.folder / "ssh_key"
        self.known_hosts = self.folder / "known_hosts"
        self._owner: socket.socket | None = None

    @staticmethod
    def attach(name: str, *, say: Callable[[str], None] | None = None) -> Lab:
        """Return a handle on a lab that another process has brought up. Raises LabError if there is none."""
        require_machine()
        LabState.load(places.check_lab_name(name))
        return Lab(name, keep=True, say=say)

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            if self._owner:  # Otherwise the lab is somebody else's.
                self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.keep:
            self._release()
        else:
            self.down()

    def up(self) -> None:
        """Remove what is left of a lab of this name, and make its networks.

        Raises LabError if the machine lacks something, or if another process has this lab up and is using it.
        """
        require_machine()
        self._claim()
        removal.remove(self.name)
        self.say(f"making the networks of lab {self.name}")
        limits.make_room()
        with places.locked():  # From here on, no other lab is the last one.
            places.RUN.mkdir(mode=0o755, exist_ok=True)
            self.folder.mkdir(mode=0o700)
        networks.create(self.name)
        uplink.create(self.name)
        run(
            [
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                f"virtual Pi lab {self.name}",
                "-f",
                self.ssh_key,
            ]
        )
        self.known_hosts.touch()
        LabState(self.name, secrets.token_urlsafe(12)).save()

    def down(self) -> None:
        """Remove the lab and everything that belongs to it; does nothing where there is nothing."""
        require_machine()
        self._claim()
        removal.remove(self.name)
        self._release()

    @property
    def password(self) -> str:
        """The password of the user `pi` on each of the lab's Pis."""
        return LabState.load(self.name).password

    def boot(self, name: str, timeout: float = 90) -> Pi:
        """Flash a new Pi, switch it on, and return it when its sshd answers in the control network.

        timeout: seconds for the boot; the first Pi on a machine also waits for the root file system to be
        built.
        """
        return self.boot_many([name], timeout)[0]

    def boot_many(self, names: Sequence[str], timeout: float = 90) -> list[Pi]:
        """Boot several new Pis side by side."""
        for name in places.check_pi_names(names):
            if name in state.names(self.name):
                raise LabError(f"lab {self.name!r} has a Pi {name!r} already")
        with places.locked("build"):
            base = rootfs.ready(self.say)
            pis = [self._flash(name, base) for name in names]
        self._write_known_hosts()
        with ThreadPoolExecutor(len(pis) or 1) as pool:
            list(pool.map(lambda pi: self._switch_on(pi, timeout), pis))
        return pis

    def pi(self, name: str) -> Pi:
        """Return a Pi that was booted before. Raises LabError if there is none of that name."""
        return Pi(PiState.load(self.name, name), self.password)

    @property
    def pis(self) -> list[Pi]:
        """All of the lab's Pis, whether they have power or not."""
        return [self.pi(name) for name in state.names(self.name)]

    def address(self, where: str) -> str:
        """Return the address that `control`, `field` or `stranger` speaks from."""
        return networks.ADDRESSES[self._checked(where)][0]

    def run(
        self,
        where: str,
        command: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float | None = 60,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdin: str = "",
        capture: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this machine in one of the lab's networks: `control`, `field` or `stranger`.

        The rest is as in `commands.run`.
        """
        command_there = self.entering(where, command)
        try:
            return run(
                command_there, check=check, timeout=timeout, env=env, cwd=cwd, stdin=stdin, capture=capture
            )
        except CommandError as error:
            command_read = [f"{where}:", *map(str, command)]
            raise CommandError(error.returncode, command_read, error.stdout, error.stderr) from None

    def popen(
        self,
        where: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        together: str = cgroups.PROGRAMS,
    ) -> subprocess.Popen[str]:
        """Start a program of this machine in one of the lab's networks, with pipes to all of its streams.

        together: the name that `kill` knows it by, with all that it starts.
        """
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.entering(where, command, together),
            env=environment() if env is None else env,
            cwd=cwd,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def kill(self, together: str) -> None:
        """Kill, all at once, what `popen` has started under that name, and whatever that has started."""
        cgroups.kill(cgroups.of_lab(self.name) / together)

    def entering(
        self, where: str, command: Sequence[str | Path], together: str = cgroups.PROGRAMS
    ) -> list[str]:
        """Return `command` so wrapped that it runs in one of the lab's networks, and ends with the lab."""
        group = cgroups.create(cgroups.of_lab(self.name) / together)
        return cgroups.joined(
            group, networks.in_namespace(places.namespace(self.name, self._checked(where)), command)
        )

    def ssh(self, pi: Pi, command: Sequence[str] = (), *, address: str | None = None) -> list[str]:
        """Return the ssh command that reaches a Pi from `control` with the lab's key, its host key checked.

        address: where the Pi is now, if no longer at its bootstrap address.
        """
        options = [
            "BatchMode=yes",
            "ConnectTimeout=5",
            f"HostKeyAlias={pi.name}",
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=none",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
        ]
        settings = [part for option in options for part in ("-o", option)]
        target = f"{pi.user}@{address or pi.bootstrap_address}"
        return ["ssh", "-F", "none", "-i", str(self.ssh_key), *settings, target, *command]

    def _flash(self, name: str, base: Path) -> Pi:
        """Give a new Pi its files: what all Pis share, and what is its own."""
        number = (
            max((PiState.load(self.name, other).number for other in state.names(self.name)), default=0) + 1
        )
        if number > 50:
            raise LabError(f"lab {self.name!r} has 50 Pis; its networks have no more addresses")
        disk = places.pi_disk(self.name, name)
        disk.mkdir(parents=True)
        for mounted in ("card", "root"):
            (disk / mounted).mkdir()
        card.insert(self.name, name)
        (disk / "base").write_text(str(base))
        inside = ["chroot", str(disk / "root"), "sh", "-eu", "-c", rootfs.FLASH.read_text()]
        flashed = run(
            container.mounted(self.name, name, base, inside),
            env={
                "PATH": SYSTEM_PATH,
                "PI_PASSWORD": self.password,
                "PI_PUBLIC_KEY": self.ssh_key.with_suffix(".pub").read_text().strip(),
            },
        )
        places.pi_state(self.name, name).mkdir(parents=True)
        places.host_keys(self.name, name).write_text(flashed.stdout)
        PiState(self.name, name, number, base).save()
        return self.pi(name)

    def _write_known_hosts(self) -> None:
        lines = [
            f"{name} {key}\n"
            for name in state.names(self.name)
            for key in places.host_keys(self.name, name).read_text().splitlines()
        ]
        self.known_hosts.write_text("".join(lines))

    def _switch_on(self, pi: Pi, timeout: float) -> None:
        begun = monotonic()
        self.say(f"booting {pi.name}")
        pi.switch_on()
        pi.wait_for(lambda: self._answers(pi), timeout, "does not answer over SSH from the control network")
        self.say(f"{pi.name} answers at {pi.bootstrap_address} after {monotonic() - begun:.1f} s")

    def _answers(self, pi: Pi) -> bool:
        if not pi.leased("eth0") or not pi.leased("uplink0"):
            return False
        return self.run("control", self.ssh(pi, ["true"]), check=False).returncode == 0

    def _checked(self, where: str) -> str:
        if where not in (places.CONTROL, places.FIELD, places.STRANGER):
            raise LabError(f"{where!r} is no place to run a program in: use control, field or stranger")
        return where

    def _claim(self) -> None:
        """Keep other processes from using this lab's name. The kernel gives it back if this one dies."""
        if self._owner:
            return
        owner = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            owner.bind(f"\0smart-meter-virtual-pi/{self.name}")
            self._owner = owner
            return
        owner.close()
        raise LabError(
            f"lab {self.name!r} is being used by another process; wait for it, or use another lab's name"
        )

    def _release(self) -> None:
        if self._owner:
            self._owner.close()
            self._owner = None
