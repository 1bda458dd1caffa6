"""The nodes of a device tree that a device depends on: its regulators, clocks, pins, buses and so on.

Linux probes a device only when the drivers of all of these are there. An initrd with the driver of the card
but not that of its regulator never finds the root file system.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping

from tools.image.fdt import Node

# Properties that are lists of phandles, and the supplier's property with the number of cells after each.
_CELLS = {
    "clocks": "#clock-cells",
    "resets": "#reset-cells",
    "power-domains": "#power-domain-cells",
    "dmas": "#dma-cells",
    "mboxes": "#mbox-cells",
    "phys": "#phy-cells",
    "iommus": "#iommu-cells",
    "interrupts-extended": "#interrupt-cells",
}
_GPIOS = re.compile(r"(.+-)?gpios?")
_NO_SPECIFIER = re.compile(r".+-supply|pinctrl-\d+|interrupt-parent|mmc-pwrseq|firmware|brcm,firmware")


def supplier_nodes(tree: Node, compatible: str) -> list[Node]:
    """Return each node that an enabled device depends on, directly or not. compatible: that of the device."""
    parents = dict(_parents(tree))
    nodes = {id(node): node for node in _all(tree)}
    by_phandle = {
        number: node for node in nodes.values() for number in _cells(node.properties.get("phandle", b""))
    }
    devices = [node for node in nodes.values() if node.is_enabled and compatible in node.compatible]
    found: dict[int, Node] = {}
    waiting = list(devices)
    while waiting:
        node = waiting.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        waiting += _direct(node, by_phandle)
        # Its bus; the state of a pin is a node within its controller.
        waiting += [parents[id(node)]] if id(node) in parents else []
    return [node for key, node in found.items() if key not in {id(device) for device in devices}]


def modules_of(node: Node, aliases: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the modules that can drive a node; none if its driver is built in.

    aliases: from `read_aliases`.
    """
    return frozenset().union(*(aliases.get(name, frozenset()) for name in node.compatible))


def read_aliases(text: str) -> dict[str, frozenset[str]]:
    """Return the modules for each `compatible` value, from depmod's modules.alias."""
    found: dict[str, frozenset[str]] = {}
    for compatible, module in re.findall(r"^alias of:N\*T\*C([^*\s]+?)(?:C\*)? (\S+)$", text, re.MULTILINE):
        found[compatible] = found.get(compatible, frozenset()) | {module}
    return found


def _direct(node: Node, by_phandle: Mapping[int, Node]) -> Iterator[Node]:
    for name, value in node.properties.items():
        count = "#gpio-cells" if _GPIOS.fullmatch(name) else _CELLS.get(name)
        if count or _NO_SPECIFIER.fullmatch(name):
            yield from _named(value, count, by_phandle)


def _named(value: bytes, count: str | None, by_phandle: Mapping[int, Node]) -> Iterator[Node]:
    """Yield the nodes in a list of phandles. count: the supplier's property with its length."""
    cells = _cells(value)
    while cells:
        supplier = by_phandle.get(cells[0])
        length = 0
        if supplier:
            yield supplier
            length = (_cells(supplier.properties.get(count or "", b"")) or [0])[0]
        cells = cells[1 + length :]


def _cells(value: bytes) -> list[int]:
    # A property of this name may also be a text.
    return [number for [number] in struct.iter_unpack(">I", value)] if len(value) % 4 == 0 else []


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _all(child)


def _parents(node: Node) -> Iterator[tuple[int, Node]]:
    for child in node.children:
        yield id(child), node
        yield from _parents(child)
