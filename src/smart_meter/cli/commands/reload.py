"""`smart-meter reload`: have a running service take its configuration file anew, and say whether it did."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from smart_meter.config import ConfigError, load
from smart_meter.runtime.reload import outcome

PATIENCE = 10.0
_LOOK_SECONDS = 0.02


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 where the service has it, 1 where it can't be asked, 2 for a refused configuration."""
    try:
        # What is wrong with the file alone need not trouble the service.
        load(arguments.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    pid = arguments.pid if arguments.pid is not None else _main_pid()
    if pid is None:
        print(
            "smart-meter: no service is named; `sudo systemctl reload smart-meter`, or give --pid",
            file=sys.stderr,
        )
        return 1
    since = time.monotonic_ns()
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        print(
            f"smart-meter: process {pid} can't be told: {error.strerror}; is the service running?",
            file=sys.stderr,
        )
        return 1
    return _wait(Path(arguments.runtime), pid, since)


def _main_pid() -> int | None:
    # systemd.service(5), ExecReload=: MAINPID names the process of the service.
    text = os.environ.get("MAINPID", "")
    # More digits than any process's number has: not systemd's.
    usable = text.isascii() and text.isdigit() and len(text) <= 7
    return int(text) if usable and int(text) > 1 else None


def _wait(runtime: Path, pid: int, since: int) -> int:
    deadline = time.monotonic() + PATIENCE
    while (problems := outcome(runtime, pid, since)) is None:
        if time.monotonic() > deadline:
            print(
                f"smart-meter: process {pid} did not tell in {runtime} what became of it within "
                f"{PATIENCE:g} s; see its journal",
                file=sys.stderr,
            )
            return 1
        time.sleep(_LOOK_SECONDS)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0
