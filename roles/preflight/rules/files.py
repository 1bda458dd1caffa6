"""Variable files that no host and no group reads: a misspelt file name is silent, and its values are lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from roles.preflight.rules.problem import near

# The suffixes that Ansible looks for. A folder is also read, with everything in it.
_SUFFIXES = {".yml", ".yaml", ".json"}


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
            if path.is_file() and path.name != name and (folder / kind / name).exists():
                message = f"is not read beside {kind}/{name}; move its lines there"
                yield Unread(path, name, message, likely=True)
                continue
            if name in known:
                continue
            meant = near(name, known)
            fix = meant or f"; rename it after a {what} in the inventory, or remove it"
            yield Unread(
                path, name, f"is not a {what} in the inventory, so nothing reads this{fix}", bool(meant)
            )
