"""Shows which step of a build runs, and how long each took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_WIDTH = 100


class Steps:
    """Prints a line when a step begins and another when it ends."""

    def __init__(self, count: int, output: TextIO = sys.stdout) -> None:
        self.times: list[tuple[str, float]] = []
        self._count = count
        self._started = time.monotonic()
        self._output = output

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time the block as a step of this title."""
        number = f"[{len(self.times) + 1}/{self._count}]"
        self._print(f"{number} {title} ...")
        self._started = started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self.times.append((title, seconds))
        self._print(f"{number} {title}: {seconds:.0f} s")

    def note(self, text: str) -> None:
        """Print what the running step is doing."""
        seconds = time.monotonic() - self._started
        self._print(f"      {seconds:.0f} s: {text[:_WIDTH]}")

    @property
    def total(self) -> float:
        """The seconds of all steps."""
        return sum(seconds for _, seconds in self.times)

    def _print(self, line: str) -> None:
        print(line, file=self._output, flush=True)
