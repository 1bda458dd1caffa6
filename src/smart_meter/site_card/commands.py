"""Runs the Pi's own programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 60.0


class Done(NamedTuple):
    """The exit status of a program, and its output with its errors."""

    status: int
    output: str


Run = Callable[[Sequence[str]], Done]


def run(command: Sequence[str]) -> Done:
    """Run a program; its status is 127 if it is missing, 124 if it takes too long."""
    path = shutil.which(command[0], path=_PATH)
    if path is None:
        return Done(127, f"{command[0]} is not installed")
    try:
        done = subprocess.run(  # noqa: S603 - no argument comes from a card unchecked
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={"PATH": _PATH, "LC_ALL": "C", "PYTHONWARNINGS": "ignore"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Done(124, str(error))
    return Done(done.returncode, done.stdout)
