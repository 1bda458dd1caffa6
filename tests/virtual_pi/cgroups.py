"""Control groups: the reliable record of which processes belong to a lab.

Everything that a lab starts runs below `smart-meter-virtual-pi/LAB` in the cgroup v2 hierarchy, wherever the
machine has mounted it. A process can't leave its group by forking. Killing the group therefore ends all
processes of the lab and no others, even if the process that created the lab has crashed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tests.virtual_pi.commands import LabError

PROGRAMS = "programs"
SUPERVISORS = "supervisors"


@cache
def base() -> Path:
    """Return the parent folder of all labs' groups.

    With systemd as the machine's init, the hierarchy is at /sys/fs/cgroup. Together with cgroup v1 it is
    mounted elsewhere.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == "cgroup2":
            return Path(left.split()[4]) / "smart-meter-virtual-pi"
    raise LabError("no cgroup v2 hierarchy is mounted; mount one with: mount -t cgroup2 none /sys/fs/cgroup")


def of_lab(lab: str) -> Path:
    return base() / lab


def of_pi(lab: str, pi: str) -> Path:
    return of_lab(lab) / f"pi-{pi}"


def create(group: Path) -> Path:
    """Create a group below base(), with every controller that its parents offer."""
    for folder in reversed([group, *group.parents]):
        if folder == base() or base() in folder.parents:
            folder.mkdir(exist_ok=True)
    for parent in [base(), *(p for p in reversed(group.parents) if base() in p.parents)]:
        for controller in (parent / "cgroup.controllers").read_text().split():
            # A Pi also runs without a controller; the machine decides which ones it delegates.
            with contextlib.suppress(OSError):
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")
    return group


def in_group(group: Path, command: Sequence[str | Path]) -> list[str]:
    """Return `command` wrapped so that it joins the group before it starts."""
    return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(group), *map(str, command)]


def processes(group: Path) -> Iterator[int]:
    """Yield the identifier of each process in the group and its sub-groups."""
    for folder, _, _ in os.walk(group):  # Ignores folders that disappear meanwhile.
        with contextlib.suppress(OSError):
            yield from map(int, Path(folder, "cgroup.procs").read_text().split())


def freeze(group: Path, timeout: float = 20) -> None:
    """Freeze every process in the group and its sub-groups. Frozen processes can still be killed."""
    (group / "cgroup.freeze").write_text("1")
    deadline = time.monotonic() + timeout
    while "frozen 1" not in (group / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            raise LabError(f"{group}: its processes can't be frozen within {timeout:g} s")
        time.sleep(0.001)


def kill(group: Path) -> None:
    """Kill every process in the group and its sub-groups at once. Does nothing if there is no such group."""
    with contextlib.suppress(FileNotFoundError):
        (group / "cgroup.kill").write_text("1")


def remove(group: Path, timeout: float = 20) -> None:
    """Kill everything in the group, wait until it has ended, and remove the group, if there is one."""
    if not group.exists():
        return
    kill(group)
    deadline = time.monotonic() + timeout
    while "populated 1" in (group / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            left = sorted(processes(group))
            raise LabError(f"{group}: processes {left} can't be killed within {timeout:g} s")
        time.sleep(0.01)
    for folder in sorted(group.rglob("*/"), reverse=True):
        folder.rmdir()
    group.rmdir()
