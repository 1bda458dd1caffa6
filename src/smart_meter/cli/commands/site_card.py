"""`smart-meter site-card`: check a site card, or apply the one on the boot partition."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
from pathlib import Path

from smart_meter.config.small_file import read_small
from smart_meter.site_card.apply import Result, apply
from smart_meter.site_card.card import NAME, CardError, read
from smart_meter.site_card.checks import check
from smart_meter.site_card.commands import run
from smart_meter.site_card.effect import take_effect


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 for a valid or applied card and if there is none, 1 for a refused one, 2 for one to check."""
    if arguments.action == "check":
        return _check(Path(arguments.file or NAME))
    root = Path(arguments.root)
    signal.signal(signal.SIGTERM, _out_of_time)
    outcome = apply(Path(arguments.folder), root, run)
    is_bad = outcome.result is Result.REFUSED
    for line in outcome.lines:
        print(line, file=sys.stderr if is_bad else sys.stdout)
    if outcome.result is Result.APPLIED and root == Path("/"):
        for line in take_effect(outcome, run):
            print(line)
    return 1 if is_bad else 0


def _out_of_time(*_: object) -> None:
    """Let the present step fail, so that everything is cleaned up and the answer is written."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise TimeoutError(errno.ETIMEDOUT, "took too long")


def _check(path: Path) -> int:
    try:
        checked = check(read(read_small(path)))
    except OSError as error:
        print(f"smart-meter: {path}: {error.strerror}", file=sys.stderr)
        return 2
    except CardError as error:
        print(error, file=sys.stderr)
        return 2
    zones = ", ".join(f"{profile.zone} {profile.address}" for profile in checked.profiles)
    secrets = ", ".join(checked.card.secrets) or "none"
    print(f"{path}: ok, the card of {checked.card.host}; zones: {zones}; secrets: {secrets}")
    return 0
