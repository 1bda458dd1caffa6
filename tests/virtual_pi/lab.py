"""A lab: its networks, its Pis, and a way to run programs in them."""

from __future__ import annotations

import secrets
import socket
import subprocess
import threading
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
from tests.virtual_pi.kinds import PLAIN, Kind
from tests.virtual_pi.pi import Pi
from tests.virtual_pi.state import LabState, PiState


class Lab:
    """A named lab: `up` creates it, `boot` adds Pis, `down` removes everything.

    As a context manager it calls `up` and `down`. `up` first removes what an earlier run has left behind.
    keep: do not remove the lab at the end of the context; another process can use it through `Lab.attach`.
    log: called with a line of text for each step.
    """

    def __init__(self, name: str, *, keep: bool = False, log: Callable[[str], None] | None = None) -> None:
        self.name = places.check_lab_name(name)
        self.keep = keep
        self.log = log or (lambda _: None)
        self.folder = places.state_folder(name)
        self.ssh_key = self.folder / "ssh_key"
        self.known_hosts = self.folder / "known_hosts"
        self._owner: socket.socket | None = None
        self._known_hosts_lock = threading.Lock()

    @staticmethod
    def attach(name: str, *, log: Callable[[str], None] | None = None) -> Lab:
        """Return a handle on a lab that another process has created. Raises LabError if it is not up."""
        require_machine()
        LabState.load(places.check_lab_name(name))
        return Lab(name, keep=True, log=log)

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            if self._owner:  # Otherwise another process owns the lab.
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
        """Remove what is left of a lab of this name, and create its networks.

        Raises LabError if the machine lacks something, or if another process is using this lab.
        """
        require_machine()
        self._claim()
        removal.remove(self.name)
        self.log(f"creating the networks of lab {self.name}")
        limits.raise_inotify_limit()
        # Once the folder exists, the removal of another lab does not clean up what all labs share.
        with places.locked():
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
        """Remove the lab and everything that belongs to it. Does nothing if there is no such lab."""
        require_machine()
        self._claim()
        removal.remove(self.name)
        self._release()

    @property
    def password(self) -> str:
        """The password of the user who may log in, on each of the lab's Pis."""
        return LabState.load(self.name).password

    def boot(self, name: str, timeout: float = 90, kind: Kind = PLAIN) -> Pi:
        """Flash a new Pi, switch it on, and return it when its sshd answers on the control network.

        timeout: seconds for the boot, without building the root file system for the first Pi on a machine.
        """
        return self.boot_many([name], timeout, kind)[0]

    def boot_many(self, names: Sequence[str], timeout: float = 90, kind: Kind = PLAIN) -> list[Pi]:
        """Boot several new Pis in parallel."""
        pis = self._flash_many(names, kind)
        with ThreadPoolExecutor(len(pis) or 1) as pool:
            list(pool.map(lambda pi: self.switch_on(pi, timeout), pis))
        return pis

    def prepare(
        self,
        name: str,
        command: Callable[[Path], Sequence[str | Path]],
        *,
        kind: Kind = PLAIN,
        timeout: float = 300,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> tuple[Pi, subprocess.CompletedProcess[str]]:
        """Flash a new Pi, run one of this machine's programs on its card, and return the Pi, which is off.

        command: returns the command for the folder at which the Pi's root file system is mounted, with /proc
        and an empty /run for a chroot. The command is in network, process and mount namespaces of its own, in
        which it reaches only the package archive. It is not checked whether it succeeds.
        """
        [pi] = self._flash_many([name], kind)
        base = PiState.load(self.name, name).base
        root = places.pi_disk(self.name, name) / "root"
        router = networks.ADDRESSES[places.ROUTER][0]
        words = [str(part) for part in command(root)]
        inside = container.prepare_command(self.name, name, base, router, words)
        wrapped = networks.in_namespace(places.namespace(self.name, name), inside)
        group = cgroups.create(cgroups.of_pi(self.name, name))
        networks.create_interfaces(self.name, name, pi.number)
        try:
            networks.connect_uplink(self.name, name, pi.number)
            done = run(cgroups.in_group(group, wrapped), check=False, timeout=timeout, env=env, cwd=cwd)
        finally:
            cgroups.remove(group)
            networks.remove_interfaces(self.name, name)
        return pi, done

    def switch_on(self, pi: Pi, timeout: float = 90) -> None:
        """Switch on a Pi for the first time, and wait until its sshd answers on the control network."""
        started = monotonic()
        self.log(f"booting {pi.name}")
        pi.switch_on()
        pi.wait_for(lambda: self._answers(pi), timeout, "does not answer over SSH from the control network")
        self.log(f"{pi.name} answers at {pi.bootstrap_address} after {monotonic() - started:.1f} s")

    def wait_until_configured(self, pi: Pi, timeout: float = 120) -> None:
        """Wait until a Pi's first boot has configured it, and add its host keys to known_hosts.

        For a Pi whose card `prepare` has prepared: it may have other addresses than a fresh one.
        """
        pi.wait_for(lambda: self._is_configured(pi), timeout, "was not configured by its first boot")

    def pi(self, name: str) -> Pi:
        """Return a Pi that was booted before. Raises LabError if the lab has no Pi of that name."""
        return Pi(PiState.load(self.name, name), self.password)

    @property
    def pis(self) -> list[Pi]:
        """All of the lab's Pis, whether on or off."""
        return [self.pi(name) for name in state.names(self.name)]

    def address(self, place: str) -> str:
        """Return the source address of connections from `control`, `field` or `stranger`."""
        return networks.ADDRESSES[_check_place(place)][0]

    def run(
        self,
        place: str,
        command: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float | None = 60,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdin: str = "",
        capture: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run one of this machine's programs in one of the lab's networks: `control`, `field` or `stranger`.

        The other parameters are those of `commands.run`.
        """
        wrapped = self.wrapped(place, command)
        try:
            return run(wrapped, check=check, timeout=timeout, env=env, cwd=cwd, stdin=stdin, capture=capture)
        except CommandError as error:
            readable = [f"{place}:", *map(str, command)]
            raise CommandError(error.returncode, readable, error.stdout, error.stderr) from None

    def popen(
        self,
        place: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        group: str = cgroups.PROGRAMS,
    ) -> subprocess.Popen[str]:
        """Start one of this machine's programs in one of the lab's networks, with pipes for all streams.

        group: a name for it and all of its child processes, for `kill`.
        """
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.wrapped(place, command, group),
            env=environment() if env is None else env,
            cwd=cwd,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def kill(self, group: str) -> None:
        """Kill at once what `popen` has started in this group, with all child processes."""
        cgroups.kill(cgroups.of_lab(self.name) / group)

    def wrapped(self, place: str, command: Sequence[str | Path], group: str = cgroups.PROGRAMS) -> list[str]:
        """Return `command` wrapped so that it runs in one of the lab's networks, and ends with the lab."""
        cgroup = cgroups.create(cgroups.of_lab(self.name) / group)
        namespace = places.namespace(self.name, _check_place(place))
        return cgroups.in_group(cgroup, networks.in_namespace(namespace, command))

    def ssh(self, pi: Pi, command: Sequence[str] = (), *, address: str | None = None) -> list[str]:
        """Return the ssh command to a Pi from `control`, with the lab's key and a check of the host key.

        address: the Pi's current address, if it is not the bootstrap address any more.
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

    def _flash_many(self, names: Sequence[str], kind: Kind) -> list[Pi]:
        for name in places.check_pi_names(names):
            if name in state.names(self.name):
                raise LabError(f"lab {self.name!r} has a Pi {name!r} already")
        with places.locked("build"):
            base = rootfs.ready(self.log, kind)
            pis = [self._flash(name, base, kind) for name in names]
        self._write_known_hosts()
        return pis

    def _flash(self, name: str, base: Path, kind: Kind) -> Pi:
        """Create a new Pi's card on top of the shared root file system."""
        number = (
            max((PiState.load(self.name, other).number for other in state.names(self.name)), default=0) + 1
        )
        if number > 50:
            raise LabError(f"lab {self.name!r} has 50 Pis; its networks have no more addresses")
        disk = places.pi_disk(self.name, name)
        disk.mkdir(parents=True)
        for mounted in ("card", "root"):
            (disk / mounted).mkdir()
        card.create(self.name, name)
        (disk / "base").write_text(str(base))
        inside = ["chroot", str(disk / "root"), "sh", "-eu", "-c", rootfs.flash_script(kind)]
        flashed = run(
            container.mounted(self.name, name, base, inside),
            env={
                "PATH": SYSTEM_PATH,
                "PI_NAME": name,
                "PI_PASSWORD": self.password,
                "PI_PUBLIC_KEY": self.ssh_key.with_suffix(".pub").read_text().strip(),
            },
        )
        places.pi_state(self.name, name).mkdir(parents=True)
        places.host_keys(self.name, name).write_text(flashed.stdout)
        PiState(self.name, name, number, base, kind.name).save()
        return self.pi(name)

    def _write_known_hosts(self) -> None:
        lines = [
            f"{name} {key}\n"
            for name in state.names(self.name)
            for key in places.host_keys(self.name, name).read_text().splitlines()
        ]
        self.known_hosts.write_text("".join(lines))

    def _answers(self, pi: Pi) -> bool:
        if not pi.leased("eth0") or not pi.leased("uplink0") or not self._is_configured(pi):
            return False
        return self.run("control", self.ssh(pi, ["true"]), check=False).returncode == 0

    def _is_configured(self, pi: Pi) -> bool:
        """Return whether the first boot has configured the Pi; if so, add its host keys to known_hosts."""
        if pi.kind.configured is None:
            return True
        try:
            if not pi.path(pi.kind.configured).exists():
                return False
            keys = sorted(pi.path("/etc/ssh").glob("ssh_host_*_key.pub"))
            # Without their comments.
            lines = [" ".join(key.read_text().split()[:2]) + "\n" for key in keys]
        except (LabError, OSError):  # It is starting.
            return False
        with self._known_hosts_lock:
            places.host_keys(self.name, pi.name).write_text("".join(lines))
            self._write_known_hosts()
        return bool(lines)

    def _claim(self) -> None:
        """Keep other processes from using this lab's name. If this process dies, the kernel releases it."""
        if self._owner:
            return
        owner = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            owner.bind(f"\0smart-meter-virtual-pi/{self.name}")
            self._owner = owner
            return
        owner.close()
        raise LabError(f"lab {self.name!r} is in use by another process; wait for it, or choose another name")

    def _release(self) -> None:
        if self._owner:
            self._owner.close()
            self._owner = None


def _check_place(place: str) -> str:
    if place not in (places.CONTROL, places.FIELD, places.STRANGER):
        raise LabError(f"programs can't run in {place!r}: use control, field or stranger")
    return place
