"""`smart-meter reload`: make a running service reload its configuration, and report the result."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from smart_meter.config import ConfigError, load
from smart_meter.runtime.reload import read_result

RESULT_SECONDS = 10.0
_POLL_SECONDS = 0.02


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if the service loaded it, 1 if the service did not answer, 2 if the file is not valid."""
    try:
        # If the file is not valid, the service need not be signalled at all.
        load(arguments.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    pid = arguments.pid if arguments.pid is not None else _main_pid()
    if pid is None:
        print(
            "smart-meter: which process? use `sudo systemctl reload smart-meter`, or give --pid",
            file=sys.stderr,
        )
        return 1
    since = time.monotonic_ns()
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        print(
            f"smart-meter: can't signal process {pid}: {error.strerror}; is the service running?",
            file=sys.stderr,
        )
        return 1
    return _wait(Path(arguments.runtime), pid, since)


def _main_pid() -> int | None:
    # systemd.service(5), ExecReload=: MAINPID names the process of the service.
    text = os.environ.get("MAINPID", "")
    # No PID has more than 7 digits.
    usable = text.isascii() and text.isdigit() and len(text) <= 7
    return int(text) if usable and int(text) > 1 else None


def _wait(runtime: Path, pid: int, since: int) -> int:
    deadline = time.monotonic() + RESULT_SECONDS
    while (problems := read_result(runtime, pid, since)) is None:
        if time.monotonic() > deadline:
            print(
                f"smart-meter: process {pid} wrote no result to {runtime} within {RESULT_SECONDS:g} s; "
                "see its log",
                file=sys.stderr,
            )
            return 1
        time.sleep(_POLL_SECONDS)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0
