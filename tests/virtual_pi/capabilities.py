"""What root may do inside a virtual Pi and in a lab's networks: nothing that changes this machine.

Root that executes a program gets every capability of its bounding set (capabilities(7)), and the clock, the
kernel's modules and the devices belong to no namespace: they are the machine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Of capabilities(7): what no namespace confines.
_OF_THE_MACHINE = ("sys_time", "wake_alarm", "sys_module", "sys_rawio", "mknod", "syslog")


def of_process(pid: int) -> list[int]:
    """Return the capabilities that a process and its descendants can ever have, by their numbers."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def limited_to(pid: int, command: Sequence[str | Path]) -> list[str]:
    """Return `command` so wrapped that it never has a capability that a process does not have.

    Nor one of the machine's: a Pi that just starts has not given them up yet.
    """
    return _limited(["-all", *(f"+cap_{number}" for number in of_process(pid))], command)


def without_the_machine_s(command: Sequence[str | Path]) -> list[str]:
    """Return `command` so wrapped that it can't set this machine's clock, restart it or load modules."""
    # Outside a Pi's process namespace, reboot(2) is the machine's.
    return _limited(["-sys_boot"], command)


def _limited(changes: list[str], command: Sequence[str | Path]) -> list[str]:
    bounding_set = [*changes, *(f"-{name}" for name in _OF_THE_MACHINE)]
    nothing_else = ["--inh-caps=-all", "--ambient-caps=-all"]
    return ["setpriv", f"--bounding-set={','.join(bounding_set)}", *nothing_else, "--", *map(str, command)]
