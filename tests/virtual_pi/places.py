"""Paths and names that labs use on this machine.

The name of every namespace, table, link, cgroup and folder is defined here, so that creation and removal
can't diverge.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.virtual_pi.commands import LabError

# Logs, keys and state. Like the labs themselves, they do not survive a restart of the machine.
RUN = Path("/run/smart-meter-virtual-pi")
# The Pis' cards. They are on disk because Pis may install a lot.
DISK = Path("/var/lib/smart-meter-virtual-pi")
# Root file systems, kept between runs.
CACHE = Path("/var/cache/smart-meter-virtual-pi")

CONTROL, FIELD, STRANGER, ROUTER = "control", "field", "stranger", "router"
NAMESPACES = (CONTROL, FIELD, STRANGER, ROUTER)

# Without hyphens, so that names of lab "a" can't be mistaken for names of a lab "a-b".
_LAB_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}")
_PI_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]|[a-z]")


@contextmanager
def locked(what: str = "labs") -> Iterator[None]:
    """Hold a lock that all labs of this machine share; by default, the one on what they have in common."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (CACHE / f".{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_lab_name(name: str) -> str:
    if not _LAB_NAME.fullmatch(name):
        raise LabError(
            f"lab name {name!r}: use up to 16 lower-case letters, digits and underscores, a letter first"
        )
    return name


def check_pi_name(name: str) -> str:
    if not _PI_NAME.fullmatch(name) or name in NAMESPACES:
        raise LabError(
            f"Pi name {name!r}: use up to 32 lower-case letters, digits and hyphens, a letter first, "
            f"and none of {', '.join(NAMESPACES)}"
        )
    return name


def check_pi_names(names: Sequence[str]) -> Sequence[str]:
    for name in map(check_pi_name, names):
        if names.count(name) > 1:
            raise LabError(f"Pi name {name!r} is given twice; each Pi of a lab needs a different name")
    return names


def state_folder(lab: str) -> Path:
    return RUN / lab


def disk_folder(lab: str) -> Path:
    return DISK / lab


def pi_state(lab: str, pi: str) -> Path:
    return state_folder(lab) / "pis" / pi


def pi_disk(lab: str, pi: str) -> Path:
    return disk_folder(lab) / pi


def host_keys(lab: str, pi: str) -> Path:
    """Return the file with the Pi's public host keys, one per line. Empty until the Pi has generated them."""
    return pi_state(lab, pi) / "host_keys"


def namespace_prefix(lab: str) -> str:
    return f"smv-{lab}-"


def namespace(lab: str, what: str) -> str:
    """Return the name of one of the lab's network namespaces; `what` is one of NAMESPACES or a Pi's name."""
    return namespace_prefix(lab) + what


def machine(lab: str, pi: str) -> str:
    """Return the container's name on this machine. The Pi's own host name is `raspberrypi`."""
    return namespace(lab, pi).replace("_", "-u")


def nft_table(lab: str) -> str:
    return f"smv_{lab}"


def host_link(lab: str) -> str:
    """Return the name of the lab's only interface outside its namespaces. Linux allows 15 characters."""
    return f"smv-{_digest(lab)[:8]}"


def uplink_number(lab: str) -> int:
    """Return the index at which the search for a free uplink network starts, 0 to 16383."""
    return int(_digest(lab)[:8], 16) % 16384


def mac_address(lab: str, pi: str, interface: str) -> str:
    """Return the interface's MAC address, the same at every boot. 02 marks it as locally administered."""
    digest = _digest(f"{lab}/{pi}/{interface}")
    return ":".join(["02", *(digest[i : i + 2] for i in range(0, 10, 2))])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
