"""Two sites with three Pis and the same private addresses. Each site is a lab; one operator manages both.

The operator is at the first site, and reaches the other through tests/jump_host.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.controller import REPOSITORY, Controller
from tests.virtual_pi import Lab, Pi, places

NORTH, SECOND, SOUTH = "pi-north", "pi-second", "pi-south"
ADDRESSES = {NORTH: "192.168.2.100", SECOND: "192.168.2.101", SOUTH: "192.168.2.100"}


@dataclass
class Fleet:
    """The lab of each Pi, and the operator's laptop."""

    labs: dict[str, Lab]
    controller: Controller

    def pi(self, name: str) -> Pi:
        """Return a Pi by its name."""
        return self.labs[name].pi(name)


@contextmanager
def two_sites(name: str) -> Iterator[Fleet]:
    """Boot three fresh Pis, and add them to an inventory."""
    with Lab(f"{name}_n") as north, Lab(f"{name}_s") as south:
        pis = {pi.name: pi for pi in [*north.boot_many([NORTH, SECOND]), south.boot(SOUTH)]}
        controller = Controller(north)
        controller.known_hosts = north.folder / "all_known_hosts"
        controller.known_hosts.write_text(north.known_hosts.read_text() + south.known_hosts.read_text())
        controller.sites = {"site_lab": {}, "site_south": _through_the_jump_host(south)}
        controller.secrets["vault_south_become_password"] = south.password
        controller.add(pis[NORTH])
        controller.add(
            pis[SECOND], network_control_address="192.168.2.101/24", network_field_address="192.168.1.101/24"
        )
        controller.add(pis[SOUTH], site="site_south")
        yield Fleet({NORTH: north, SECOND: north, SOUTH: south}, controller)


def _through_the_jump_host(south: Lab) -> dict[str, Any]:
    enter = f"ip netns exec {places.namespace(south.name, 'control')}"
    jump_host = f"env PYTHONPATH={REPOSITORY} {enter} {sys.executable} -m tests.jump_host %h %p"
    options = ["HostKeyAlias={{ inventory_hostname }}", "StrictHostKeyChecking=yes", "ProxyUseFdpass=yes"]
    return {
        "preflight_site": "south",
        "ansible_become_password": "{{ vault_south_become_password }}",
        "ansible_ssh_private_key_file": str(south.ssh_key),
        "ansible_ssh_common_args": " ".join(f"-o {option}" for option in options)
        + f" -o 'ProxyCommand={jump_host}'",
    }
