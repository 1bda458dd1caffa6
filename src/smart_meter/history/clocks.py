"""The clocks of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from smart_meter.history.clock import microseconds


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Then no start is taken for one of the same boot.
        return f"unknown-{time.time_ns()}"


class Clocks(NamedTuple):
    """The time, in seconds, and the boot that the monotonic clock belongs to."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    boot: str

    @classmethod
    def system(cls) -> Clocks:
        """Return the machine's."""
        return cls(time.monotonic, time.time, _boot())

    def offset(self) -> int:
        """Return how many microseconds the wall clock is before the monotonic one."""
        return microseconds(self.wall()) - microseconds(self.monotonic())
