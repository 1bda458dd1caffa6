"""Texts of events: short, on one line, and without characters that do something to a terminal."""

from __future__ import annotations

TEXT_BYTES = 300
"""The longest text of an event, in UTF-8."""
DETAIL_BYTES = 600
"""The longest detail."""
NAME_BYTES = 64
"""The longest client and meter."""


def harmless(text: str) -> str:
    """Return a text with every character escaped that is not printable: control characters, surrogates."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, most: int) -> str:
    """Return a text of at most `most` bytes in UTF-8."""
    data = text.encode(errors="replace")
    return text if len(data) <= most else data[: most - 3].decode(errors="ignore") + "…"


def without_numbers(text: str) -> bytes:
    """Return a text without its digits: it is the same for texts that differ in numbers only."""
    # In bytes it takes a third of the time.
    return text.encode(errors="replace").translate(None, b"0123456789")
