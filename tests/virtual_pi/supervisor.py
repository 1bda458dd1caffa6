"""A Pi's power supply: `python -m tests.virtual_pi.supervisor LAB NAME`.

Runs the Pi until it is switched off or its power is cut, and starts it again when it reboots. It is detached
from terminals and test runs; killing its cgroup ends it.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys

from tests.virtual_pi import cgroups, networks, places
from tests.virtual_pi.container import ENVIRONMENT, REBOOT, boot_command
from tests.virtual_pi.state import PiState


def supervise(lab: str, pi: str) -> None:
    state = PiState.load(lab, pi)
    folder = places.pi_state(lab, pi)
    group = cgroups.of_pi(lab, pi)
    with (folder / "console.log").open("ab") as console:
        while True:
            cgroups.remove(group)
            networks.create_interfaces(lab, pi, state.number)
            cgroups.create(group)
            boot = cgroups.in_group(group, boot_command(lab, pi, state.base))
            status = subprocess.call(
                boot, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=ENVIRONMENT, cwd="/"
            )
            if status != REBOOT:
                break
    cgroups.remove(group)
    networks.remove_interfaces(lab, pi)


def main() -> None:
    lab, pi = sys.argv[1:]
    with (places.pi_state(lab, pi) / "supervisor.lock").open("w") as lock:
        # Held as long as the Pi has power. To find out, other processes try to take the lock.
        fcntl.flock(lock, fcntl.LOCK_EX)
        supervise(lab, pi)


if __name__ == "__main__":
    main()
