"""Removes a lab, or what is left of one. Everything is found by its name, so no intact record is needed."""

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
    # The supervisors first, since they could restart a Pi that the next line ends.
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
                with contextlib.suppress(OSError):  # It does not exist, or contains files of someone else.
                    parent.rmdir()


def labs() -> list[str]:
    """Return the name of each lab that exists, even incompletely."""
    found = {name.split("-")[1] for name in _all_namespaces()}
    for parent in (places.RUN, places.DISK, cgroups.base()):
        found |= {child.name for child in parent.glob("[a-z]*/")}
    return sorted(found)


def namespaces(lab: str) -> list[str]:
    return [name for name in _all_namespaces() if name.startswith(places.namespace_prefix(lab))]


def _all_namespaces() -> list[str]:
    return sorted(file.name for file in _NETNS.glob("smv-*-*"))


def _end_processes_in(name: str) -> None:
    """Kill what was started in a namespace without the lab, for example by `ip netns exec`."""
    file = _NETNS / name
    # Never our own namespace, even if someone has mounted it there.
    if not networks.is_alive(name) or file.samefile("/proc/self/ns/net"):
        return
    for pid in run(["ip", "netns", "pids", name]).stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue


def _remove_folder(folder: Path) -> None:
    # The Pis' own mounts are in other mount namespaces. Any mount that is visible here was made by hand.
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        run(["umount", mount])
    if folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise LabError(f"{folder} can't be removed: {error}") from error
