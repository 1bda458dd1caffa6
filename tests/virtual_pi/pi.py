"""One virtual Pi, seen from its outside: power, cables, and access as root."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.virtual_pi import capabilities, card, cgroups, container, kinds, networks, places
from tests.virtual_pi.commands import SYSTEM_PATH, CommandError, LabError, run, tail
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
# Exit statuses of timeout(1) and nsenter(1) when the command was ended by SIGKILL.
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
        """Unplug the cable: the interface loses its carrier. It stays unplugged across reboots."""
        networks.set_cable(self.pi.lab, self.pi.name, self.pi.number, self.interface, plugged=False)

    def up(self) -> None:
        """Plug the cable in again."""
        networks.set_cable(self.pi.lab, self.pi.name, self.pi.number, self.interface, plugged=True)


class Pi:
    """A Pi of a running lab, created by `Lab.boot` and returned again by `Lab.pi`."""

    def __init__(self, state: PiState, password: str) -> None:
        self.lab = state.lab
        self.name = state.pi
        self.number = state.number
        self.kind = kinds.named(state.kind)
        self.password = password
        self.folder = places.pi_state(self.lab, self.name)
        self.console_log = self.folder / "console.log"

    def __repr__(self) -> str:
        return f"Pi({self.name!r}, lab={self.lab!r})"

    @property
    def user(self) -> str:
        """The user who may log in over SSH."""
        return self.kind.user

    @property
    def bootstrap_address(self) -> str:
        """The address that the control network's DHCP server leased to the fresh Pi's eth0."""
        return self._leased("eth0")

    @property
    def uplink_address(self) -> str:
        """The address of uplink0, at which a stranger can reach the Pi."""
        return self._leased("uplink0")

    @property
    def is_on(self) -> bool:
        """Whether the Pi has power, even if it is rebooting."""
        with (self.folder / "supervisor.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def link(self, interface: str) -> Link:
        """Return the cable of the interface `wlan0`, `eth0` or `uplink0`."""
        return Link(self, interface)

    def path(self, path: str | Path) -> Path:
        """Return the path at which this machine can access a file of the running Pi.

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
        """Run a command as root inside the Pi, without its network and SSH.

        timeout: seconds until it is killed and subprocess.TimeoutExpired is raised.
        Raises CommandError on a non-zero exit status if `check` is set, LabError if the Pi is off.
        """
        # Killing the command from outside would leave its children running: the Pi's own timeout(1) ends it.
        inside = self.wrapped(["timeout", "--signal=KILL", str(timeout), *map(str, command)])
        started = time.monotonic()
        try:
            done = run(inside, check=False, timeout=timeout + 10, stdin=stdin)
        except subprocess.TimeoutExpired as error:
            raise subprocess.TimeoutExpired(command, timeout, error.output, error.stderr) from None
        if done.returncode in _KILLED and time.monotonic() - started >= timeout:
            raise subprocess.TimeoutExpired(command, timeout, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise CommandError(
                done.returncode, [f"{self.name}:", *map(str, command)], done.stdout, done.stderr
            )
        return done

    def wrapped(self, command: Sequence[str | Path], environment: dict[str, str] | None = None) -> list[str]:
        """Return `command` wrapped so that it runs as root inside the Pi, in its namespaces and cgroup.

        It has the capabilities of the Pi's own root and no others of this machine's.
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
        limited = capabilities.limited_to_process(leader, enter)
        return cgroups.in_group(cgroups.of_pi(self.lab, self.name) / "payload" / "init.scope", limited)

    def reboot(self, timeout: float = 60) -> None:
        """Reboot cleanly, and wait until the next boot is complete."""
        before = self._boot_identity()
        self._signal(_REBOOT)
        self.wait_for(lambda: self._boot_identity() not in (None, before), timeout, "did not reboot")
        self.wait_until_running(timeout)

    def power_cut(self) -> None:
        """Cut the power: all of the Pi's processes end at once, and what is not on its card yet is lost."""
        group = cgroups.of_pi(self.lab, self.name)
        cgroups.freeze(group)
        copy = card.copy_consistently(self.lab, self.name)
        cgroups.kill(group)
        self.wait_for(lambda: not self.is_on, 20, "still has power", powered=False)
        # The end of its last process has unmounted the card, and so written the cache to it: use the copy.
        copy.rename(card.image(self.lab, self.name))

    def power_off(self, timeout: float = 60) -> None:
        """Shut down cleanly, and wait until the Pi is off."""
        self._signal(_POWER_OFF)
        self.wait_for(lambda: not self.is_on, timeout, "did not power off", powered=False)

    def power_on(self, timeout: float = 60) -> None:
        """Restore the power after a power cut or a shutdown, and wait until the Pi has booted."""
        self.switch_on()
        self.wait_until_running(timeout)

    def switch_on(self) -> None:
        """Switch the power on, and return without waiting for the boot."""
        if self.is_on:
            raise LabError(f"{self.name} is on already")
        container.start_supervisor(self.lab, self.name)
        self.wait_for(lambda: self.is_on, 20, "has no power supply", powered=False)

    def wait_until_running(self, timeout: float = 60) -> str:
        """Wait until the boot is complete; return `running`, or `degraded` if a unit failed.

        timeout: seconds until LabError is raised.
        """
        state = ""

        def has_booted() -> bool:
            nonlocal state
            state = self._system_state()
            return state in ("running", "degraded")

        self.wait_for(has_booted, timeout, "has not booted")
        return state

    def wait_for(
        self, condition: Callable[[], bool], timeout: float, problem: str, *, powered: bool = True
    ) -> None:
        """Wait until the condition holds.

        problem: what to report if it does not hold within `timeout` seconds, such as "has not booted".
        powered: fail at once if the Pi has no power.
        Raises LabError with the last lines of the Pi's console.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if powered and not self.is_on:
                problem += " and is off"
            elif time.monotonic() > deadline:
                problem += f" within {timeout:g} s"
            else:
                time.sleep(0.05)
                continue
            logs = [tail(self.console_log), tail(self.folder / "supervisor.log", 10)]
            raise LabError("\n".join([f"{self.name} {problem}. Its console ends with:", *logs]))

    def _system_state(self) -> str:
        try:
            return self.run(["systemctl", "is-system-running"], check=False, timeout=10).stdout.strip()
        except (LabError, subprocess.TimeoutExpired):
            return ""

    def _boot_identity(self) -> tuple[int, str] | None:
        """Return what differs between boots: the process ID and the start time of the Pi's process 1."""
        leader = self._first_process()
        if leader is None:
            return None
        try:
            # The 22nd field of proc(5)'s stat. The second field, in parentheses, may contain spaces.
            return (leader, Path(f"/proc/{leader}/stat").read_text().rpartition(")")[2].split()[19])
        except OSError:  # It has just ended.
            return None

    def _signal(self, number: int) -> None:
        """Send a signal to the Pi's systemd.

        `systemctl reboot` inside the Pi could delay the shutdown by 90 s if it has not ended when
        systemd-shutdown kills the remaining processes. systemd-shutdown waits until it learns of their end,
        but the end of a command whose parent is outside the Pi is only reported to that parent.
        """
        leader = self._first_process()
        if leader is None:
            raise LabError(f"{self.name} is not running, so it can't be shut down")
        os.kill(leader, number)

    def _leader(self) -> int:
        """Return the result of `_first_process`. Raises LabError if the Pi has none."""
        leader = self._first_process()
        if leader is None:
            raise LabError(
                f"{self.name} is {'starting' if self.is_on else 'off'}: no command can run inside it"
            )
        return leader

    def _first_process(self) -> int | None:
        """Return the process ID on this machine of the Pi's process 1, None if there is none."""
        for pid in cgroups.processes(cgroups.of_pi(self.lab, self.name) / "payload"):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:  # It has just ended.
                continue
            identifiers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(identifiers) > 1 and identifiers[-1] == "1":
                return pid
        return None

    def _leased(self, interface: str) -> str:
        address = self.leased(interface)
        if address is None:
            raise LabError(f"{self.name}: {interface} has no DHCP lease")
        return address

    def leased(self, interface: str) -> str | None:
        """Return the address that DHCP leased to an interface, or None."""
        mac = places.mac_address(self.lab, self.name, interface)
        return networks.lease(self.lab, networks.INTERFACES[interface], mac)
