"""Removes a lab, or what is left of one: found by its names, so that no record of it needs to be whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from tests.virtual_pi import cgroups, networks, places, uplink
from tests.virtual_pi.commands import LabError, run

_NETNS = Path("/run/netns")


def remove(lab: str) -> None:
    """End every process, and remove every namespace, link, table, mount and file of the lab."""
    # First the power supplies, or they might start a Pi again that the next line ends.
    cgroups.remove(cgroups.of_lab(lab) / cgroups.SUPERVISORS)
    cgroups.remove(cgroups.of_lab(lab))
    for name in namespaces(lab):
        _end_processes_in(name)
        networks.remove_namespace(name)
    uplink.remove(lab)
    _remove_folder(places.disk_folder(lab))
    _remove_folder(places.state_folder(lab))
    with places.locked():
        if not labs():
            uplink.restore_forwarding()
            for parent in (places.RUN, places.DISK, cgroups.base()):
                with contextlib.suppress(OSError):  # It is not there, or somebody else has put something in.
                    parent.rmdir()


def labs() -> list[str]:
    """Return the name of each lab that is up, half up, or left behind."""
    found = {name.split("-")[1] for name in _all_namespaces()}
    for parent in (places.RUN, places.DISK, cgroups.base()):
        found |= {child.name for child in parent.glob("[a-z]*/")}
    return sorted(found)


def namespaces(lab: str) -> list[str]:
    return [name for name in _all_namespaces() if name.startswith(places.namespace_prefix(lab))]


def _all_namespaces() -> list[str]:
    return sorted(file.name for file in _NETNS.glob("smv-*-*"))


def _end_processes_in(name: str) -> None:
    """Kill what was started in a namespace by other means than the lab's, `ip netns exec` say."""
    file = _NETNS / name
    # Never our own, whatever somebody may have mounted there.
    if not networks.is_alive(name) or file.samefile("/proc/self/ns/net"):
        return
    for pid in run(["ip", "netns", "pids", name]).stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue


def _remove_folder(folder: Path) -> None:
    # Pis' root file systems are mounted out of sight; one that is in sight was mounted by hand.
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        run(["umount", mount])
    if folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise LabError(f"{folder} can't be removed: {error}") from error
