"""Runs a build's tools: their output goes to a log, whose last line is shown while one takes long."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Seconds between two lines about a tool that is still running.
_INTERVAL = 20
_SHOWN = 4096
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class BuildError(Exception):
    """The image can't be built. The text explains why, and how to fix it."""


def run(
    command: Sequence[str | Path],
    log: Path,
    progress: Callable[[str], None],
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a tool until it ends; its output is appended to `log`.

    progress: called with the last line of the output now and then.
    Raises BuildError with the last lines if the tool fails.
    """
    words = [str(word) for word in command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            words,
            cwd=REPOSITORY,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        follow(process, words[0], log, progress)


def follow(process: subprocess.Popen[bytes], name: str, log: Path, progress: Callable[[str], None]) -> None:
    """Wait for a tool that writes to `log`. Raises BuildError with the last lines if it fails."""
    while True:
        try:
            code = process.wait(_INTERVAL)
        except subprocess.TimeoutExpired:
            progress(last_lines(log, 1))
        else:
            break
    if code != 0:
        raise BuildError(f"{name} failed with exit status {code} ({log}):\n{last_lines(log, 15)}")


def last_lines(log: Path, count: int) -> str:
    """Return the last lines of a log that are not empty, without control characters."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _SHOWN))
        text = _CONTROL.sub("", file.read().decode(errors="replace"))
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])
