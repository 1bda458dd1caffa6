"""What a device of a device tree depends on, and the modules for it."""

from __future__ import annotations

import struct

import pytest
from tools.image.fdt import Node
from tools.image.suppliers import modules_of, read_aliases, supplier_nodes

ALIASES = """\
# Aliases extracted from modules themselves.
alias of:N*T*Cregulator-fixed fixed
alias of:N*T*Cregulator-fixedC* fixed
alias of:N*T*Cbrcm,brcmstb-gpio gpio_brcmstb
alias of:N*T*Cexample,twice first
alias of:N*T*Cexample,twice second
alias pci:v00001DE4d00000001sv*sd*bc*sc*i* rp1_pci
"""


def cells(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def node(name: str, *children: Node, phandle: int = 0, properties: dict[str, bytes] | None = None) -> Node:
    """A node whose compatible is its name."""
    values = dict(properties or {})
    values["compatible"] = f"example,{name}\0".encode()
    if phandle:
        values["phandle"] = cells(phandle)
    return Node(name, values, list(children))


def supplied(device: Node, *others: Node) -> list[str]:
    """Return the names of what `device` depends on, without the root of the tree."""
    found = supplier_nodes(node("root", device, *others), "example,card")
    return sorted(each.name for each in found if each.name != "root")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vmmc-supply", cells(7)),
        ("pinctrl-0", cells(9, 7)),
        ("interrupt-parent", cells(7)),
        ("mmc-pwrseq", cells(7)),
        # The specifier of 9 has two cells, of which one looks like the phandle of another node.
        ("clocks", cells(9, 8, 8, 7)),
        ("cd-gpios", cells(9, 8, 8, 7, 0, 0)),
        ("gpio", cells(7, 0, 0)),
        ("power-domains", cells(7)),
    ],
)
def test_each_kind_of_reference_is_followed(name: str, value: bytes) -> None:
    two = {"#clock-cells": cells(2), "#gpio-cells": cells(2)}
    first, other, last = node("nine", phandle=9), node("eight", phandle=8), node("seven", phandle=7)
    first.properties |= two
    last.properties |= {"#gpio-cells": cells(2)}

    found = supplied(node("card", properties={name: value}), first, other, last)

    assert "seven" in found
    assert "eight" not in found


def test_suppliers_have_suppliers_and_buses_and_may_form_a_ring() -> None:
    regulator = node("regulator", phandle=1, properties={"gpio": cells(2, 0)})
    gpio = node("gpio", phandle=2, properties={"clocks": cells(1)})
    gpio.properties["#gpio-cells"] = cells(1)

    assert supplied(node("card", properties={"vmmc-supply": cells(1)}), regulator, node("bus", gpio)) == [
        *("bus", "gpio", "regulator"),
    ]


def test_a_device_that_is_disabled_needs_nothing() -> None:
    assert (
        supplied(
            node("card", properties={"vmmc-supply": cells(1), "status": b"disabled\0"}), node("x", phandle=1)
        )
        == []
    )


@pytest.mark.parametrize("value", [b"", b"\0", b"text\0", cells(99), cells(0)])
def test_what_is_not_a_phandle_is_passed_over(value: bytes) -> None:
    assert supplied(node("card", properties={"clocks": value}), node("x", phandle=1)) == []


def test_a_node_has_the_modules_of_each_of_its_names() -> None:
    aliases = read_aliases(ALIASES)

    gpio = Node("gpio", {"compatible": b"brcm,bcm7445-gpio\0brcm,brcmstb-gpio\0"})
    assert modules_of(gpio, aliases) == {"gpio_brcmstb"}
    assert modules_of(node("twice"), aliases) == {"first", "second"}
    assert modules_of(node("built-in"), aliases) == frozenset()
    assert set(aliases) == {"regulator-fixed", "brcm,brcmstb-gpio", "example,twice"}
