"""Problems and the variables that have them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Key = tuple[str | int, ...]
"""The path to a value: `("concentrator_meters", 1, "unit_id")` is `concentrator_meters[1].unit_id`."""

Values = Mapping[str, Any]
"""A host's variables by name, without those that could not be templated."""

_MAX_SHOWN = 60
_KEY_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of one variable: what is wrong and, after a semicolon, the fix."""

    key: Key
    message: str

    @property
    def variable(self) -> str:
        """Return the name of the whole variable."""
        return str(self.key[0])


def problem(name: str, message: str) -> Problem:
    """Return a problem of a whole variable."""
    return Problem((name,), message)


def show_key(key: Key) -> str:
    """Return a key as a person would write it: `concentrator_meters[1].unit_id`."""
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return shown.removeprefix(".")


def parse_key(text: str) -> Key:
    """Return the key for the output of `show_key`."""
    return tuple(int(index) if index else name for index, name in _KEY_PART.findall(text))


def show(value: object) -> str:
    """Return a value as text for a message: on one line, escaped, and truncated if it is long."""
    text = printable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def printable(text: str) -> str:
    """Return a text with control, format and bidirectional characters, and line breaks, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def near(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the nearest of the known names, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def text(values: Values, name: str) -> str | None:
    """Return a variable if it is a string and not empty, else None."""
    value = values.get(name)
    return value if isinstance(value, str) and value else None


def texts(values: Values, name: str) -> list[tuple[Key, str]]:
    """Return the strings of a list with their keys."""
    value = values.get(name)
    if not isinstance(value, list):
        return []
    return [((name, index), entry) for index, entry in enumerate(value) if isinstance(entry, str)]


def integer(values: Values, name: str) -> int | None:
    """Return a variable if it is an integer, else None."""
    value = values.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
