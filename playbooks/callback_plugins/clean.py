"""Ansible's default output, without what could control the terminal, and with the tasks that take long.

Whatever a Pi answers may be shown: outputs, messages, warnings, differences. Control characters, and those
that change the direction of text, are shown escaped, so that a Pi under someone else's control can't rewrite
the screen. A task that takes longer than five seconds is shown while it runs, with the Pis that it waits for.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils.display import Display

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.look.reading import UNPRINTABLE  # noqa: E402 - the path comes first.
from roles.preflight.rules.waits import Waits  # noqa: E402

DOCUMENTATION = """
name: clean
type: stdout
short_description: the default output, with control characters escaped
description: Escapes what a host's answers could control the terminal with, and shows tasks that take long.
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

        self._waits = Waits()
        self._lock = threading.Lock()
        self._done = threading.Event()
        threading.Thread(target=self._show_waits, daemon=True).start()

    def _show_waits(self) -> None:
        while not self._done.wait(1):
            with self._lock:
                lines = self._waits.due(time.monotonic())
            for line in lines:
                # Not among the results, which a program may read.
                self._display.display(line, stderr=True)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Measure how long the host takes."""
        with self._lock:
            self._waits.start(host.get_name(), task._uuid, task.get_name(), time.monotonic())
        super().v2_runner_on_start(host, task)

    def _end(self, result: Any) -> None:
        with self._lock:
            self._waits.end(result._host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        """Print the result, and the paths of what was written."""
        self._end(result)
        super().v2_runner_on_ok(result)
        written = result._result.get("written")
        if result._task.action == "managed_files" and isinstance(written, list):
            for path in written:
                self._display.display("  " + escape(str(path)).replace("\n", "\\n"))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Print the failure."""
        self._end(result)
        super().v2_runner_on_failed(result, ignore_errors=ignore_errors)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Print that the task was skipped."""
        self._end(result)
        super().v2_runner_on_skipped(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Print that the host does not answer."""
        self._end(result)
        super().v2_runner_on_unreachable(result)

    def _get_diff(self, difflist: Any) -> Coloured:
        """Return the difference; its colours are Ansible's own."""
        return Coloured(super()._get_diff(_escaped_parts(difflist)))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the summary, which has only names of the inventory, and colours."""
        self._done.set()
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
