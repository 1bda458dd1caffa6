"""One virtual Pi, as whoever stands beside it sees it: power, cables, and what is inside."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.virtual_pi import capabilities, card, cgroups, container, networks, places
from tests.virtual_pi.commands import SYSTEM_PATH, CommandError, LabError, end_of, run
from tests.virtual_pi.state import PiState

_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LOGNAME": "root",
    "PATH": SYSTEM_PATH,
    "SHELL": "/bin/bash",
    "TERM": "dumb",
    "USER": "root",
}
# How timeout(1) and nsenter(1) pass on that a command ended by SIGKILL.
_KILLED = (137, -9)
# systemd(1), "Signals": start reboot.target, start poweroff.target.
_REBOOT = signal.SIGRTMIN + 5
_POWER_OFF = signal.SIGRTMIN + 4


@dataclass(frozen=True)
class Link:
    """The cable (or the radio) of one of a Pi's interfaces."""

    pi: Pi
    interface: str

    def down(self) -> None:
        """Pull the cable: the Pi loses its carrier. It stays pulled over reboots."""
        networks.set_cable(self.pi.lab, self.pi.name, self.pi.number, self.interface, plugged=False)

    def up(self) -> None:
        """Plug the cable in again."""
        networks.set_cable(self.pi.lab, self.pi.name, self.pi.number, self.interface, plugged=True)


class Pi:
    """A Pi of a running lab; made by `Lab.boot`, found again by `Lab.pi`."""

    user = "pi"

    def __init__(self, state: PiState, password: str) -> None:
        self.lab = state.lab
        self.name = state.pi
        self.number = state.number
        self.password = password
        self.folder = places.pi_state(self.lab, self.name)
        self.console_log = self.folder / "console.log"

    def __repr__(self) -> str:
        return f"Pi({self.name!r}, lab={self.lab!r})"

    @property
    def bootstrap_address(self) -> str:
        """The address that the control network's DHCP server gave to the fresh Pi's eth0."""
        return self._leased("eth0")

    @property
    def uplink_address(self) -> str:
        """The address of uplink0, where a stranger can reach the Pi."""
        return self._leased("uplink0")

    @property
    def is_on(self) -> bool:
        """Whether the Pi has power (which includes that it is rebooting)."""
        with (self.folder / "supervisor.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def link(self, interface: str) -> Link:
        """Return the cable of `wlan0`, `eth0` or `uplink0`."""
        return Link(self, interface)

    def path(self, path: str | Path) -> Path:
        """Return where this machine sees a file of the Pi, as long as the Pi runs, and without a program in
        it.

        Raises LabError if the Pi is off.
        """
        return Path(f"/proc/{self._leader()}/root") / str(path).removeprefix("/")

    def run(
        self,
        command: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside the Pi, past its network and its SSH.

        timeout: seconds, after which it is killed and subprocess.TimeoutExpired raised.
        Raises CommandError on a non-zero exit status if `check` is set, LabError if the Pi is off.
        """
        # Killing the command from outside would leave its children: the Pi's own timeout(1) ends it.
        inside = self.entering(["timeout", "--signal=KILL", str(timeout), *map(str, command)])
        begun = time.monotonic()
        try:
            done = run(inside, check=False, timeout=timeout + 10, stdin=stdin)
        except subprocess.TimeoutExpired as error:
            raise subprocess.TimeoutExpired(command, timeout, error.output, error.stderr) from None
        if done.returncode in _KILLED and time.monotonic() - begun >= timeout:
            raise subprocess.TimeoutExpired(command, timeout, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise CommandError(
                done.returncode, [f"{self.name}:", *map(str, command)], done.stdout, done.stderr
            )
        return done

    def entering(self, command: Sequence[str | Path], environment: dict[str, str] | None = None) -> list[str]:
        """Return `command` so wrapped that it runs as root inside the Pi, in its namespaces and cgroup.

        It can do what the Pi's own root can, and no more: this machine's capabilities stay outside.
        """
        leader = self._leader()
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        clean = [
            "env",
            "-i",
            *(f"{name}={value}" for name, value in (_ENVIRONMENT | (environment or {})).items()),
        ]
        enter = [
            "nsenter",
            f"--target={leader}",
            *namespaces,
            "--root",
            "--wd",
            "--",
            *clean,
            *map(str, command),
        ]
        limited = capabilities.limited_to(leader, enter)
        return cgroups.joined(cgroups.of_pi(self.lab, self.name) / "payload" / "init.scope", limited)

    def reboot(self, timeout: float = 60) -> None:
        """Reboot in good order, and wait until the next boot is complete."""
        before = self._boot()
        self._signal(_REBOOT)
        self.wait_for(lambda: self._boot() not in (None, before), timeout, "did not reboot")
        self.wait_until_running(timeout)

    def power_cut(self) -> None:
        """Cut the power: everything of the Pi's ends at once, and what was not on its card yet is lost."""
        group = cgroups.of_pi(self.lab, self.name)
        cgroups.freeze(group)
        kept = card.keep_as_it_is(self.lab, self.name)
        cgroups.kill(group)
        self.wait_for(lambda: not self.is_on, 20, "still has power", powered=False)
        # The end of its last process has unmounted the card and so written the cache to it: that file goes.
        kept.rename(card.of(self.lab, self.name))

    def power_off(self, timeout: float = 60) -> None:
        """Shut down in good order, and wait until the Pi is off."""
        self._signal(_POWER_OFF)
        self.wait_for(lambda: not self.is_on, timeout, "did not power off", powered=False)

    def power_on(self, timeout: float = 60) -> None:
        """Give the Pi power again after a power cut or a shutdown, and wait until it has booted."""
        self.switch_on()
        self.wait_until_running(timeout)

    def switch_on(self) -> None:
        """Give the Pi power, and don't wait."""
        if self.is_on:
            raise LabError(f"{self.name} is on already")
        container.start_supervisor(self.lab, self.name)
        self.wait_for(lambda: self.is_on, 20, "has no power supply", powered=False)

    def wait_until_running(self, timeout: float = 60) -> str:
        """Wait until the boot is complete; return `running`, or `degraded` if a unit failed.

        timeout: seconds, after which LabError is raised.
        """
        said = ""

        def has_booted() -> bool:
            nonlocal said
            said = self._system_state()
            return said in ("running", "degraded")

        self.wait_for(has_booted, timeout, "has not booted")
        return said

    def wait_for(
        self, condition: Callable[[], bool], timeout: float, otherwise: str, *, powered: bool = True
    ) -> None:
        """Wait until the condition holds.

        otherwise: what is wrong if it doesn't within `timeout` seconds, as in "has not booted".
        powered: give up as soon as the Pi has lost its power.
        Raises LabError, with the end of the Pi's console.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if powered and not self.is_on:
                otherwise += " and is off"
            elif time.monotonic() > deadline:
                otherwise += f" within {timeout:g} s"
            else:
                time.sleep(0.05)
                continue
            logs = [end_of(self.console_log), end_of(self.folder / "supervisor.log", 10)]
            raise LabError("\n".join([f"{self.name} {otherwise}. Its console ends with:", *logs]))

    def _system_state(self) -> str:
        try:
            return self.run(["systemctl", "is-system-running"], check=False, timeout=10).stdout.strip()
        except (LabError, subprocess.TimeoutExpired):
            return ""

    def _boot(self) -> tuple[int, str] | None:
        """Return what tells one boot from another: the Pi's process 1, and when it was started."""
        leader = self._first_process()
        if leader is None:
            return None
        try:
            # The 22nd field of proc(5)'s stat; the second, in parentheses, may have spaces.
            return (leader, Path(f"/proc/{leader}/stat").read_text().rpartition(")")[2].split()[19])
        except OSError:  # It has ended meanwhile.
            return None

    def _signal(self, number: int) -> None:
        """Ask the Pi's systemd for something, and watch from outside.

        A command inside that has not quite ended when the shutdown kills what is left would delay it by 90 s:
        systemd-shutdown waits to hear of its end, and only its parent, outside the Pi, does.
        """
        leader = self._first_process()
        if leader is None:
            raise LabError(f"{self.name} is not running: it can't be shut down")
        os.kill(leader, number)

    def _leader(self) -> int:
        """Return the same as `_first_process`, or raise LabError."""
        leader = self._first_process()
        if leader is None:
            raise LabError(
                f"{self.name} is {'starting' if self.is_on else 'off'}: nothing can be run inside it"
            )
        return leader

    def _first_process(self) -> int | None:
        """Return the identifier, on this machine, of the Pi's own process 1."""
        for pid in cgroups.processes(cgroups.of_pi(self.lab, self.name) / "payload"):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:  # It has ended meanwhile.
                continue
            identifiers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(identifiers) > 1 and identifiers[-1] == "1":
                return pid
        return None

    def _leased(self, interface: str) -> str:
        address = self.leased(interface)
        if address is None:
            raise LabError(f"{self.name}: {interface} was never given an address by DHCP")
        return address

    def leased(self, interface: str) -> str | None:
        """Return the address that DHCP gave to an interface, None before it did."""
        mac = places.mac_address(self.lab, self.name, interface)
        return networks.lease(self.lab, networks.INTERFACES[interface], mac)
