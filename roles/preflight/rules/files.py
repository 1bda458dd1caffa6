"""Files of variables: those that a run reads, and those that no host and no group reads.

A misspelt file name is silent, and the values are lost.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from roles.preflight.rules.problem import near

# What Ansible looks for, in this order; it reads the first. A folder is read with everything in it.
_SUFFIXES = ("", ".yml", ".yaml", ".json")
_OTHER = {".yml": ".yaml", ".yaml": ".yml"}


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or folder that nothing reads. likely: its name is probably misspelt, so it is refused."""

    path: Path
    name: str
    message: str
    likely: bool


def unread_files(folder: Path, hosts: Collection[str], groups: Collection[str]) -> Iterator[Unread]:
    """Yield the files in host_vars and group_vars whose name is not in the inventory."""
    for kind, known, what in (("host_vars", hosts, "host"), ("group_vars", groups, "group")):
        for path in sorted((folder / kind).glob("*")):
            name = path.stem if path.suffix in _SUFFIXES and path.is_file() else path.name
            if path.name.startswith(".") or path.name.endswith("~"):
                continue
            if path.is_file() and (first := _read_first(path.with_name(name))) != path:
                message = f"is not read beside {kind}/{first.name}; move its lines there"
                yield Unread(path, name, message, likely=True)
                continue
            if name in known:
                continue
            meant = near(name, known)
            fix = meant or f"; rename it after a {what} in the inventory, or remove it"
            yield Unread(
                path, name, f"is not a {what} in the inventory, so nothing reads this{fix}", bool(meant)
            )


def unread_inventories(sources: Collection[Path]) -> Iterator[Unread]:
    """Yield hosts.yaml if hosts.yml is the inventory, and the other way round."""
    for source in sources:
        if source.suffix not in _OTHER or not source.is_file():
            continue
        other = source.with_suffix(_OTHER[source.suffix])
        if other.is_file() and other not in sources:
            message = f"is not read beside {source.name}; move its lines there"
            yield Unread(other, other.stem, message, likely=True)


def inventory_files(sources: Iterable[str]) -> Iterator[Path]:
    """Yield the files of hosts and groups in YAML: the inventory's sources, and those in its folders."""
    for source in map(Path, sources):
        found = sorted(source.iterdir()) if source.is_dir() else [source]
        for file in found:
            if file.is_file() and file.suffix in _OTHER and not os.access(file, os.X_OK):
                yield file


def variable_files(folder: Path, hosts: Collection[str], groups: Collection[str]) -> Iterator[Path]:
    """Yield the files of variables that are read for these hosts and groups."""
    for kind, names in (("host_vars", hosts), ("group_vars", groups)):
        for name in sorted(names):
            path = _read_first(folder / kind / name)
            if path.is_file():
                yield path
            for file in sorted(path.rglob("*")) if path.is_dir() else ():
                # As Ansible: in a folder, with these suffixes only, and no hidden files.
                if file.is_file() and file.suffix in _SUFFIXES and not file.name.startswith("."):
                    yield file


def _read_first(path: Path) -> Path:
    """Return the one that Ansible reads of the files with this name, which has no suffix."""
    candidates = [path.with_name(path.name + suffix) for suffix in _SUFFIXES]
    return next((candidate for candidate in candidates if candidate.exists()), candidates[0])
