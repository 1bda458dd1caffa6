"""Control groups: the one sure record of which processes belong to a lab.

Everything that a lab starts lives below `smart-meter-virtual-pi/LAB` in the cgroup v2 hierarchy, wherever
the machine has mounted that. A process can't leave its group by forking, so killing the group ends all of
the lab and nothing else, whatever became of the process that built it.
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
    """Return the folder of all labs' groups.

    With systemd as the machine's first process the hierarchy is at /sys/fs/cgroup; beside cgroup v1 it is
    elsewhere.
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
    """Create a group below base(), and hand it every controller that its parents offer."""
    for folder in reversed([group, *group.parents]):
        if folder == base() or base() in folder.parents:
            folder.mkdir(exist_ok=True)
    for parent in [base(), *(p for p in reversed(group.parents) if base() in p.parents)]:
        for controller in (parent / "cgroup.controllers").read_text().split():
            # A Pi runs without a controller, too: which of them the machine hands down is the machine's
            # choice.
            with contextlib.suppress(OSError):
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")
    return group


def joined(group: Path, command: Sequence[str | Path]) -> list[str]:
    """Return `command` so wrapped that it moves itself into the group before it starts."""
    return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(group), *map(str, command)]


def processes(group: Path) -> Iterator[int]:
    """Yield the identifier of each process in the group and below."""
    for folder, _, _ in os.walk(group):  # It passes over what goes while it walks.
        with contextlib.suppress(OSError):
            yield from map(int, Path(folder, "cgroup.procs").read_text().split())


def freeze(group: Path, timeout: float = 20) -> None:
    """Stop every process in the group and below where it is; killing them works all the same."""
    (group / "cgroup.freeze").write_text("1")
    deadline = time.monotonic() + timeout
    while "frozen 1" not in (group / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            raise LabError(f"{group}: its processes can't be stopped within {timeout:g} s")
        time.sleep(0.001)


def kill(group: Path) -> None:
    """Kill every process in the group and below, all at once. Does nothing where there is none."""
    with contextlib.suppress(FileNotFoundError):
        (group / "cgroup.kill").write_text("1")


def remove(group: Path, timeout: float = 20) -> None:
    """Kill everything in the group, wait for its end, and remove it. Does nothing where there is none."""
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
