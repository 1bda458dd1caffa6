"""The clocks of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from smart_meter.history.clock import microseconds


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Then no start is taken for one of the same boot.
        return f"unknown-{time.time_ns()}"


@dataclass(frozen=True, slots=True)
class Clocks:
    """The time, in seconds, and the boot that the monotonic clock belongs to."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    boot: str = field(default_factory=_boot)

    def offset(self) -> int:
        """Return how many microseconds the wall clock is before the monotonic one."""
        return microseconds(self.wall()) - microseconds(self.monotonic())
