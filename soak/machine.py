"""The machine that the scenarios run on, and processes on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.integration.networks import is_running
from tests.integration.program import Program

_PREFIX = "smart-meter-soak-"
"""The names of a run's folders start with this and the process ID."""
_DISK = Path("/var/tmp")  # noqa: S108 - on disk, unlike /tmp, which may be in memory


class SoakError(Exception):
    """A scenario can't be run; the text explains why."""


def describe() -> str:
    """Return CPUs, kernel and Python in one line, and nothing that identifies the machine."""
    cpus = len(os.sched_getaffinity(0))
    return f"{cpus} CPUs, Linux {platform.release()}, Python {platform.python_version()}"


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process in KiB. See proc(5), VmRSS."""
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^VmRSS:\s+(\d+) kB$", text, re.MULTILINE)
    if match is None:
        raise SoakError(f"process {pid} has ended")
    return int(match[1])


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.02) -> bool:
    """Wait until a condition holds; return False if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


@contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """Create a folder on this machine's disk, and remove it at the end of the block."""
    with TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-{name}-", dir=_DISK) as folder:
        yield Path(folder)


def remove_stale_folders() -> None:
    """Remove the folders of runs that were killed."""
    for folder in _DISK.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not is_running(int(pid)):
            shutil.rmtree(folder)


@contextmanager
def ending(program: Program) -> Iterator[Program]:
    """Kill a program at the end of the block, if it is still running."""
    try:
        yield program
    finally:
        program.kill()
