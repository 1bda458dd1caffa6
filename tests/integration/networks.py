"""A Pi and the hosts around it, each in a network namespace, connected by virtual links."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.program import PATIENCE, environment

PI = "pi"
LINKS: Mapping[str, tuple[str, str, str]] = {
    # namespace: the Pi's interface, the Pi's address, the other end's address
    "field": ("wlan0", "192.168.1.100/24", "192.168.1.50/24"),
    "control": ("eth0", "192.168.2.100/24", "192.168.2.10/24"),
    "stranger": ("eth1", "192.168.77.100/24", "192.168.77.5/24"),
}
OTHER_END = "lan0"
"""The interface name of each host around the Pi."""
WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A prefix that kills a command when this process ends for any reason.

Start the command in the main thread: it is killed when the thread that started it ends.
"""
_FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000  # sched.h


class Networks:
    """Network namespaces and programs in them. The namespaces' names contain this process's ID."""

    def __init__(self, prefix: str = "smz", links: Mapping[str, tuple[str, str, str]] = LINKS) -> None:
        """prefix: reserved for this caller, whose namespaces from killed runs are removed first."""
        remove_stale(prefix)
        self._prefix = f"{prefix}{os.getpid()}"
        self._made: list[str] = []
        try:
            self.add_host(PI)
            for name, (interface, own, other) in links.items():
                self.add_host(name)
                peer = ("peer", OTHER_END, "netns", self.name(name))
                self.ip(PI, "link", "add", interface, "type", "veth", *peer)
                self.bring_up(PI, interface, own)
                self.bring_up(name, OTHER_END, other)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove the namespaces, with their links."""
        for name in self._made:
            subprocess.run(["ip", "netns", "delete", self.name(name)], check=False, capture_output=True)
        self._made.clear()

    def name(self, name: str) -> str:
        """Return a namespace's name on this machine."""
        return f"{self._prefix}-{name}"

    def bring_up(self, name: str, interface: str, address: str) -> None:
        """Set an interface's address, and bring it up."""
        self.ip(name, "address", "add", address, "dev", interface)
        self.ip(name, "link", "set", interface, "up")

    def add_addresses(self, name: str, addresses: Sequence[str]) -> None:
        """Give a host more addresses, so that it looks like many hosts."""
        lines = "".join(f"address add {address} dev {OTHER_END}\n" for address in addresses)
        subprocess.run(
            ["ip", "-n", self.name(name), "-batch", "-"], input=lines, text=True, check=True, timeout=PATIENCE
        )

    def ip(self, name: str, *arguments: str) -> None:
        """Run `ip` for a namespace."""
        subprocess.run(["ip", "-n", self.name(name), *arguments], check=True)

    def within(self, name: str) -> tuple[str, ...]:
        """Return the prefix that runs a command in a namespace."""
        return (*WITH_US, "ip", "netns", "exec", self.name(name))

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a namespace until it ends."""
        return subprocess.run(
            [*self.within(name), *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment(),
            check=False,
        )

    def probe(self, name: str, address: str, expect: str) -> int:
        """Return the exit code of `smart-meter probe` in a namespace."""
        tool = ("-m", "smart_meter", "probe", address, "--expect", expect, "--timeout", "2")
        return self.run(name, sys.executable, *tool).returncode

    def set_address(self, action: str, interface: str, address: str) -> None:
        """Add an address to one of the Pi's interfaces, or delete it; action: "add" or "delete"."""
        self.ip(PI, "address", action, address, "dev", interface)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Move this thread into a namespace. Sockets created within the block stay in that namespace."""
        with open("/proc/thread-self/ns/net", "rb") as ours, (_FOLDER / self.name(name)).open("rb") as theirs:
            _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())

    def add_host(self, name: str) -> None:
        """Create the namespace of a host, without a link."""
        subprocess.run(["ip", "netns", "add", self.name(name)], check=True)
        self._made.append(name)
        self.ip(name, "link", "set", "lo", "up")


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie. See proc(5), stat."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def remove_stale(prefix: str) -> None:
    """Remove the namespaces of processes that have ended, and kill what still runs in them."""
    if not _FOLDER.is_dir():
        return
    for path in _FOLDER.iterdir():
        match = re.fullmatch(rf"{re.escape(prefix)}(\d+)-\w+", path.name)
        if match is None or is_running(int(match[1])):
            continue
        listed = subprocess.run(
            ["ip", "netns", "pids", path.name], capture_output=True, text=True, check=False
        )
        for pid in map(int, listed.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", path.name], check=True)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
