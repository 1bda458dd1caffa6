"""Ansible's default output, without what could control the terminal.

Whatever a Pi answers may be shown: outputs, messages, warnings, differences. Control characters, and those
that change the direction of text, are shown escaped, so that a Pi under someone else's control can't rewrite
the screen.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils.display import Display

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.look.reading import UNPRINTABLE  # noqa: E402 - the path comes first.

DOCUMENTATION = """
name: clean
type: stdout
short_description: the default output, with control characters escaped
description: Escapes what a host's answers could control the terminal with.
extends_documentation_fragment: [default_callback, result_format_callback]
"""


class Coloured(str):
    """A text that was escaped before Ansible's own colours were added."""

    __slots__ = ()


def escape(text: str) -> str:
    """Return a text of several lines with every other unprintable character escaped."""
    return UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0] in "\n\t" else found[0].encode("unicode_escape").decode()


class CallbackModule(Default):  # type: ignore[misc] # Ansible ships no type information.
    """The default output, escaped."""

    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "clean"

    def __init__(self) -> None:
        super().__init__()
        self._summing_up = False
        # Everything is displayed by this one object; workers send theirs to it, warnings and errors included.
        screen = Display()
        display = screen.display

        def escaped(msg: Any, *args: Any, **kwargs: Any) -> None:
            own = isinstance(msg, Coloured) or self._summing_up
            display(str(msg) if own else escape(str(msg)), *args, **kwargs)

        screen.display = escaped

    def _get_diff(self, difflist: Any) -> Coloured:
        """Return the difference; its colours are Ansible's own."""
        return Coloured(super()._get_diff(_escaped_parts(difflist)))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the summary, which has only names of the inventory, and colours."""
        self._summing_up = True
        super().v2_playbook_on_stats(stats)
        self._summing_up = False


def _escaped_parts(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {_escaped_parts(key): _escaped_parts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped_parts(inner) for inner in value]
    return value
