"""Writes the files, and the parts of files, that are made from the code (`make generate`).

Each product is a file's path and its whole text. A unit test fails when one is not current.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def products() -> Iterator[tuple[Path, Callable[[], str]]]:
    """Yield the path of every generated file, and what returns its text."""
    from tools.generate import architecture, register_map, settings, site_card, templates  # noqa: PLC0415 - each room imports `replace` from here

    yield from architecture.PRODUCTS.items()
    yield from settings.PRODUCTS.items()
    yield from register_map.PRODUCTS.items()
    yield from site_card.PRODUCTS.items()
    yield from templates.products().items()


def replace(path: Path, name: str, part: str, text: str = "") -> str:
    """Return a file's text, or the given one, with another part between the two marks that name the part.

    The marks are lines that contain `begin: NAME` and `end: NAME`. Raises ValueError if either is missing.
    """
    lines = (text or path.read_text(encoding="utf-8")).splitlines(keepends=True)
    begin = [number for number, line in enumerate(lines) if f"begin: {name}" in line]
    end = [number for number, line in enumerate(lines) if f"end: {name}" in line]
    if len(begin) != 1 or len(end) != 1 or begin > end:
        raise ValueError(f'{path}: needs one line with "begin: {name}" and, below it, one with "end: {name}"')
    return "".join([*lines[: begin[0] + 1], part, *lines[end[0] :]])
