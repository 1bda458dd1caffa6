"""A site of many virtual Pis, provisioned by the real playbook, and the operator's inventory of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.controller import Controller
from tests.virtual_pi import Lab

CONFIG = Path("/etc/smart-meter/config.toml")
RUNNING = Path("/run/smart-meter/config.toml")
# Virtual Pis share the machine's processors: this many boot at a time.
_AT_ONCE = 5
_METER: dict[str, Any] = {
    "name": "pv",
    "unit_id": 1,
    "measurements": [
        {"name": f"M{number}", "address": number, "type": "uint16", "scale": 10} for number in range(8)
    ],
}


@dataclass
class Site:
    """The operator's laptop, and the Pis' names in the inventory's order."""

    lab: Lab
    controller: Controller
    names: list[str]

    def set_scale(self, scale: int) -> None:
        """Give the first measurement another scale in the inventory, for all Pis."""
        first, *others = _METER["measurements"]
        meter = {**_METER, "measurements": [{**first, "scale": scale}, *others]}
        self.controller.site["concentrator_meters"] = [meter]
        self.controller.write()

    def provision(self, names: Sequence[str]) -> float:
        """Provision fresh Pis with the one playbook; return the seconds that it took."""
        began = time.monotonic()
        self.controller.playbook("site.yml", "--limit", ",".join(names), timeout=3600)
        return time.monotonic() - began

    def read(self, name: str, path: Path) -> str:
        """Return a file of a Pi's."""
        return self.lab.pi(name).run(["cat", path]).stdout


def address(name: str) -> str:
    """Return a Pi's address in the control zone: of pi-07, 192.168.2.107."""
    return f"192.168.2.{100 + int(name.removeprefix('pi-'))}"


@contextmanager
def site(lab_name: str, count: int, *, keep: bool, say: Callable[[str], None]) -> Iterator[Site]:
    """Boot fresh Pis in a lab of that name, and write an inventory of them.

    keep: leave them at the end, for `again`.
    """
    names = _names(count)
    with Lab(lab_name, keep=keep, log=say) as lab:
        for first in range(0, count, _AT_ONCE):
            lab.boot_many(names[first : first + _AT_ONCE], timeout=180)
        yield _made(lab, names)


def again(lab_name: str, count: int) -> Site:
    """Return a site that was left by another run, as provisioned as that has left it."""
    return _made(Lab.attach(lab_name), _names(count))


def _names(count: int) -> list[str]:
    return [f"pi-{number:02}" for number in range(1, count + 1)]


def _made(lab: Lab, names: list[str]) -> Site:
    made = Site(lab, Controller(lab), names)
    for name in names:
        made.controller.add(
            lab.pi(name),
            network_control_address=f"{address(name)}/24",
            network_field_address=f"{address(name).replace('192.168.2.', '192.168.1.')}/24",
        )
    made.set_scale(10)
    return made
