"""Reads flattened device trees (Devicetree Specification v0.4, chapter 5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_MAGIC = 0xD00DFEED
_BEGIN_NODE, _END_NODE, _PROPERTY, _NOP, _END = 1, 2, 3, 4, 9


@dataclass
class Node:
    """A node with the raw values of its properties, and its children."""

    name: str
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    @property
    def compatible(self) -> list[str]:
        """The values of `compatible`, the most specific one first."""
        return [text for text in self.properties.get("compatible", b"").decode().split("\0") if text]

    @property
    def is_enabled(self) -> bool:
        """Whether the kernel uses it: no status means that it does."""
        return self.properties.get("status", b"okay\0").rstrip(b"\0") in (b"okay", b"ok")

    def enabled_compatibles(self) -> set[str]:
        """Return the values of `compatible` of all nodes that are enabled, with their parents."""
        if not self.is_enabled:
            return set()
        found = set(self.compatible)
        for child in self.children:
            found |= child.enabled_compatibles()
        return found


def parse(blob: bytes) -> Node:
    """Return the root node of a device tree blob. Raises ValueError if it is not one."""
    try:
        magic, _, structure, strings = struct.unpack_from(">4I", blob)
        if magic != _MAGIC:
            raise ValueError("not a device tree: its magic number differs")
        return _parse_structure(blob, structure, strings)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a whole device tree: {error}") from error


def _parse_structure(blob: bytes, position: int, strings: int) -> Node:
    top = Node("")
    path = [top]
    while True:
        [token] = struct.unpack_from(">I", blob, position)
        position += 4
        if token == _BEGIN_NODE:
            node = Node(_text(blob, position))
            position = _aligned(position + len(node.name.encode()) + 1)
            path[-1].children.append(node)
            path.append(node)
        elif token == _END_NODE:
            path.pop()
        elif token == _PROPERTY:
            length, name = struct.unpack_from(">2I", blob, position)
            position += 8
            path[-1].properties[_text(blob, strings + name)] = blob[position : position + length]
            position = _aligned(position + length)
        elif token == _END:
            return top.children[0]
        elif token != _NOP:
            raise ValueError(f"not a whole device tree: unknown token {token}")


def _text(blob: bytes, position: int) -> str:
    end = blob.find(b"\0", position)
    if end < 0:
        raise ValueError("not a whole device tree: a name has no end")
    return blob[position:end].decode()


def _aligned(position: int) -> int:
    return (position + 3) & ~3
