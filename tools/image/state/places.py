"""Reads places.txt: the folders that change on an image, and where each is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("places.txt")
KINDS = ("layer", "own", "memory")


@dataclass(frozen=True)
class Place:
    """A folder that changes. kind: layer, own or memory (places.txt); path: absolute."""

    kind: str
    path: str

    @property
    def name(self) -> str:
        """The name of its folder on the state partition."""
        return self.path.strip("/").replace("/", "-")


def read(file: Path = FILE) -> list[Place]:
    """Return the places, in the order in which they are mounted. Raises ValueError if the list is wrong."""
    return list(_places(file.read_text(encoding="utf-8").splitlines()))


def _places(lines: Iterable[str]) -> Iterator[Place]:
    seen: list[str] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in KINDS or not words[1].startswith("/") or words[1].endswith("/"):
            raise ValueError(f"line {number}: {line!r} is not a kind and an absolute path")
        kind, path = words
        if any(path == other or other.startswith(f"{path}/") for other in seen):
            raise ValueError(f"line {number}: {path} is listed already, or a folder in it is")
        seen.append(path)
        yield Place(kind, path)


def place_of(path: str, places: Iterable[Place]) -> Place | None:
    """Return the place that stores an absolute path; None if the path is on the read-only root."""
    found = [place for place in places if f"{path}/".startswith(f"{place.path}/")]
    return max(found, key=lambda place: len(place.path), default=None)
