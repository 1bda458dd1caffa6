"""Values that YAML 1.1, which Ansible reads, takes for something else than they look like.

They are found in the files, since nothing shows it later: `8:22` is the number 502, `0123` is 83.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from roles.preflight.rules.problem import Key, show_key

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_VAULT = "$ANSIBLE_VAULT;"
_QUOTE = "put text in quotation marks"
_LEADING_ZERO = re.compile(r"[-+]?0[0-7_]+")


@dataclass(frozen=True, slots=True)
class Misread:
    """A value that is read as another one. key: the path to it, from the variable's name on."""

    line: int
    key: Key
    message: str

    @property
    def shown(self) -> str:
        """Return it as printed, after the file's name."""
        return f"{self.line}: {show_key(self.key)}: {self.message}"


def misread_in(path: Path, visible: Collection[str], hosts: Collection[str] | None = None) -> list[Misread]:
    """Return the values of a file that YAML reads as something else; none if it can't be read as YAML.

    visible: the variables whose values may be shown. hosts: for a file of hosts and groups, the hosts of
    this run; None: a file of variables.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        # Ansible itself reports it.
        return []
    return [] if text.startswith((_VAULT, "#!")) else list(misread(text, visible, hosts))


def misread(text: str, visible: Collection[str], hosts: Collection[str] | None = None) -> Iterator[Misread]:
    """Yield the values of a text that YAML reads as something else; see `misread_in`."""
    try:
        root = yaml.compose(text, _Loader)
    except yaml.YAMLError:
        return
    for path, node in _scalars(root, (), set()):
        key = path if hosts is None else _variable(path, hosts)
        if key and (found := _judge(node, hidden=str(key[0]) not in visible)):
            yield Misread(node.start_mark.line + 1, key, found)


def _scalars(node: Any, path: Key, seen: set[int]) -> Iterator[tuple[Key, Any]]:
    """Yield the scalars with their paths; what several aliases refer to once."""
    if isinstance(node, yaml.ScalarNode):
        yield path, node
        return
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _scalars(value, (*path, str(name.value)), seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _scalars(value, (*path, index), seen)


def _variable(path: Key, hosts: Collection[str]) -> Key:
    """Return the part of a path in a file of hosts and groups from the variable's name on; none: empty.

    A host's variables are below `hosts` and its name, a group's below `vars`; groups below `children`.
    """
    rest = path[1:]
    while len(rest) > 2 and rest[0] == "children":
        rest = rest[2:]
    if len(rest) > 1 and rest[0] == "vars":
        return rest[1:]
    if len(rest) > 2 and rest[0] == "hosts" and rest[1] in hosts:
        return rest[2:]
    return ()


def _judge(node: Any, *, hidden: bool) -> str | None:
    """Return what is wrong with a scalar. hidden: its value may be a secret."""
    if node.style:
        # In quotation marks, or a block of text.
        return None
    text, kind = str(node.value), str(node.tag).removeprefix(_TAG)
    if kind == "timestamp":
        return f"{'the value' if hidden else text} is a date to YAML; put it in quotation marks"
    if kind not in {"int", "float"}:
        return None
    if ":" in text:
        why, fix = "digits with a colon in base 60", "or write the number that is meant"
    elif kind == "int" and _LEADING_ZERO.fullmatch(text) and _value(text) != int(text.replace("_", "")):
        why, fix = "a number with a leading zero in base 8", "or leave the zero out"
    else:
        return None
    if hidden:
        return f"YAML reads {why} (the value is not shown); {_QUOTE}, {fix}"
    return f"{text} is {_value(text)} to YAML, which reads {why}; {_QUOTE}, {fix}"


def _value(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 - CSafeLoader is a safe loader, too.
