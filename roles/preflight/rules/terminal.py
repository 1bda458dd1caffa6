"""What Ansible displays, without the control characters that a Pi may have put into it.

A line of a file, a program's output or a message of a module would otherwise reach the operator's terminal as
it is: it could clear the screen, rename the window, or hide and reorder text.
"""

from __future__ import annotations

import re
from typing import Any

from ansible.utils import color
from ansible.utils.display import Display
from roles.preflight.rules.problem import printable

# The colours that Ansible itself writes, among them those within a difference.
_COLOUR = re.compile(r"(\x1b\[(?:0|[01];3[0-7]|38;5;[0-9]{1,3})m)")
_LAYOUT = re.compile(r"([\n\t])")


def clean(text: str, *, coloured: bool) -> str:
    """Return a text with its control, format and bidirectional characters as escapes.

    Line breaks and tabs stay, and so do Ansible's own colours if they are on (coloured).
    """
    if not coloured:
        return _escaped(text)
    parts = _COLOUR.split(text)
    return "".join(part if index % 2 else _escaped(part) for index, part in enumerate(parts))


def _escaped(text: str) -> str:
    parts = _LAYOUT.split(text.replace("\r\n", "\n"))
    return "".join(part if index % 2 else printable(part) for index, part in enumerate(parts))


def protect() -> None:
    """Let everything that Ansible displays from now on pass through `clean`.

    Also warnings and errors, which no callback sees. Raises nothing if it is called again.
    """
    display = Display()
    original = display.display
    if getattr(original, "cleans", False):
        return

    def cleaned(msg: str, *arguments: Any, **options: Any) -> None:
        original(clean(msg, coloured=color.ANSIBLE_COLOR), *arguments, **options)

    cleaned.cleans = True  # type: ignore[attr-defined] # a mark on the function itself
    display.display = cleaned
