"""Which run has claimed a Pi, and whether it is still running."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass

# As claim.sh prints a claim, and as rollout.pi names a run.
_HELD = re.compile(r"^(?P<name>.+) holds this Pi for (?P<seconds>\d+) s more$", re.MULTILINE)
_RUN = re.compile(r"[^@]+@(?P<machine>.+), process (?P<process>\d+)")


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that has claimed a Pi. seconds: time until its claim expires."""

    name: str
    seconds: int


def holder_in(text: str) -> Holder | None:
    """Return the holder in the output of claim.sh, None if there is none."""
    found = _HELD.search(text)
    return Holder(found["name"], int(found["seconds"])) if found else None


def has_ended(run: str, machine: str | None = None) -> bool:
    """Return whether a run of this controller has ended; False for a run of another controller.

    run: as rollout.pi names it. machine: this controller's host name.
    """
    found = _RUN.fullmatch(run)
    if not found or found["machine"] != (machine or socket.gethostname()):
        return False
    try:
        os.kill(int(found["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # Another user's process.
        return False
    return False
