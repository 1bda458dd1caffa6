"""A site of many virtual Pis, which the real playbook provisions, and the operator's inventory."""

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
# How many Pis boot at a time, since they share the machine's processors.
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
    """The lab, the operator's laptop, and the Pis' names in the order of the inventory."""

    lab: Lab
    controller: Controller
    names: list[str]

    def set_scale(self, scale: int) -> None:
        """Change the scale of the first measurement in the inventory, for all Pis."""
        first, *others = _METER["measurements"]
        meter = {**_METER, "measurements": [{**first, "scale": scale}, *others]}
        self.controller.site["concentrator_meters"] = [meter]
        self.controller.write()

    def provision(self, names: Sequence[str]) -> float:
        """Provision fresh Pis with site.yml; return how many seconds it took."""
        started = time.monotonic()
        self.controller.playbook("site.yml", "--limit", ",".join(names), timeout=3600)
        return time.monotonic() - started

    def read(self, name: str, path: Path) -> str:
        """Return the content of a file on a Pi."""
        return self.lab.pi(name).run(["cat", path]).stdout


def address(name: str) -> str:
    """Return a Pi's address in the control zone: for pi-07, 192.168.2.107."""
    return f"192.168.2.{100 + int(name.removeprefix('pi-'))}"


@contextmanager
def site(lab_name: str, count: int, *, keep: bool, log: Callable[[str], None]) -> Iterator[Site]:
    """Boot fresh Pis in a lab of that name, and write their inventory.

    keep: leave them running at the end, for `again`.
    """
    names = _names(count)
    with Lab(lab_name, keep=keep, log=log) as lab:
        for first in range(0, count, _AT_ONCE):
            lab.boot_many(names[first : first + _AT_ONCE], timeout=180)
        yield _site(lab, names)


def again(lab_name: str, count: int) -> Site:
    """Return the site that an earlier run has left running."""
    return _site(Lab.attach(lab_name), _names(count))


def _names(count: int) -> list[str]:
    return [f"pi-{number:02}" for number in range(1, count + 1)]


def _site(lab: Lab, names: list[str]) -> Site:
    site = Site(lab, Controller(lab), names)
    for name in names:
        site.controller.add(
            lab.pi(name),
            network_control_address=f"{address(name)}/24",
            network_field_address=f"{address(name).replace('192.168.2.', '192.168.1.')}/24",
        )
    site.set_scale(10)
    return site
