"""The command `smart-meter`: parses the arguments, runs the sub-command, returns the exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from smart_meter.cli.output import Output, prepare_streams
from smart_meter.cli.parser import make_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    prepare_streams()
    try:
        try:
            return _execute(make_parser().parse_args(arguments))
        finally:
            # A failed write has to show here, not when Python exits.
            sys.stdout.flush()
    except KeyboardInterrupt:
        # The shells' convention: 128 + the number of the signal.
        return 128 + signal.SIGINT
    except OSError as error:
        failure = sys.stdout.failure if isinstance(sys.stdout, Output) else None
        if failure is None and not isinstance(error, BrokenPipeError):
            raise
        # Otherwise Python would report the error again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(failure, BrokenPipeError):
            # The reader, for example `head`, has closed the pipe: not a failure.
            return 0
        if failure is not None:
            print(f"smart-meter: can't write the output: {failure.strerror}", file=sys.stderr)
        return 1


def _execute(parsed: argparse.Namespace) -> int:
    command = importlib.import_module(f"smart_meter.cli.commands.{parsed.command.replace('-', '_')}")
    code: int = command.execute(parsed)
    return code
