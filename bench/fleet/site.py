"""A site of many virtual Pis, provisioned by the real playbook, and the operator's inventory of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.controller import Controller
from tests.virtual_pi import Lab

# Virtual Pis share the machine's CPUs: this many boot at a time.
_AT_ONCE = 5
METER: dict[str, Any] = {
    "name": "pv",
    "unit_id": 1,
    "measurements": [
        {"name": f"M{number}", "address": number, "type": "uint16", "scale": 10} for number in range(8)
    ],
}


@dataclass
class Site:
    """The operator, and the Pis' names in the inventory's order."""

    lab: Lab
    controller: Controller
    names: list[str]

    def address(self, name: str) -> str:
        """Return a Pi's address in the control zone."""
        return f"192.168.2.{100 + int(name.removeprefix('pi-'))}"

    def set_scale(self, scale: int) -> None:
        """Give the first measurement another scale, on all Pis."""
        first, *others = METER["measurements"]
        self.controller.site["concentrator_meters"] = [
            {**METER, "measurements": [{**first, "scale": scale}, *others]}
        ]
        self.controller.write()

    def provision(self, names: Sequence[str]) -> float:
        """Provision fresh Pis with the one playbook; return the seconds that it took."""
        began = time.monotonic()
        self.controller.playbook("site.yml", "--limit", ",".join(names), timeout=3600)
        return time.monotonic() - began


@contextmanager
def site(name: str, count: int, *, keep: bool = False) -> Iterator[Site]:
    """Boot `count` fresh Pis in a lab of that name, and write an inventory with them."""
    names = [f"pi-{number:02}" for number in range(1, count + 1)]
    with Lab(name, keep=keep, say=lambda text: print(f"  {text}", flush=True)) as lab:
        for first in range(0, count, _AT_ONCE):
            lab.boot_many(names[first : first + _AT_ONCE], timeout=180)
        made = Site(lab, Controller(lab), names)
        made.controller.site["concentrator_meters"] = [METER]
        for pi in names:
            ending = 100 + int(pi.removeprefix("pi-"))
            made.controller.add(
                lab.pi(pi),
                network_control_address=f"192.168.2.{ending}/24",
                network_field_address=f"192.168.1.{ending}/24",
            )
        yield made
