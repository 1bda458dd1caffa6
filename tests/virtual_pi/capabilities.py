"""Capabilities of root inside a virtual Pi and in a lab's networks. They must not affect this machine.

When root executes a program, it gets every capability of its bounding set (capabilities(7)). The clock, the
kernel's modules and the devices are not confined by any namespace: changing them would change the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Capabilities that no namespace confines, see capabilities(7).
_UNCONFINED = ("sys_time", "wake_alarm", "sys_module", "sys_rawio", "mknod", "syslog")


def bounding_set(pid: int) -> list[int]:
    """Return the numbers of the capabilities that a process and its descendants can ever have."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def limited_to_process(pid: int, command: Sequence[str | Path]) -> list[str]:
    """Return `command` wrapped so that it has no capability that the process does not have.

    It never has an unconfined capability either: a Pi that is just starting has not dropped them yet.
    """
    return _limited(["-all", *(f"+cap_{number}" for number in bounding_set(pid))], command)


def confined(command: Sequence[str | Path]) -> list[str]:
    """Return `command` wrapped so that it can't set this machine's clock, restart it or load modules."""
    # Outside a Pi's process namespace, reboot(2) would restart this machine.
    return _limited(["-sys_boot"], command)


def _limited(changes: list[str], command: Sequence[str | Path]) -> list[str]:
    bounds = ",".join([*changes, *(f"-{name}" for name in _UNCONFINED)])
    other_sets = ["--inh-caps=-all", "--ambient-caps=-all"]
    return ["setpriv", f"--bounding-set={bounds}", *other_sets, "--", *map(str, command)]
