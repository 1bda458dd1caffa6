"""The standard streams, prepared so that a failed write is reported and no character raises an exception."""

from __future__ import annotations

import io
import os
import sys


class Output(io.TextIOWrapper):
    """Standard output that keeps its write error: an OSError does not show which file it is from."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write a text; see `failure`."""
        try:
            return super().write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """Write what is buffered; see `failure`."""
        try:
            super().flush()
        except OSError as error:
            self.failure = error
            raise


def prepare_streams() -> None:
    """Make standard output and standard error usable, whatever the caller passed."""
    # A stream that was closed when Python started is None, and a write to it would raise an exception.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it stays open to the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it stays open to the end
    # A unit such as °C must not raise an exception if the terminal's encoding lacks the character.
    if type(sys.stdout) is io.TextIOWrapper:
        encoding, buffered = sys.stdout.encoding, sys.stdout.line_buffering
        through = sys.stdout.write_through
        sys.stdout = Output(sys.stdout.detach(), encoding, "backslashreplace", None, buffered, through)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
