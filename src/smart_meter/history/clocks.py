"""The clocks of this machine."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from smart_meter.history.running_time import microseconds

BOOT_VARIABLE = "SMART_METER_BOOT_ID"
"""The unit passes systemd's %b in it: its sandbox (ProcSubset=pid) hides /proc/sys."""
_PARTS = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")


def boot_id(
    environment: Mapping[str, str], file: Path = Path("/proc/sys/kernel/random/boot_id")
) -> str | None:
    """Return the kernel's identifier of this boot as the kernel writes it; None if it is not available.

    systemd's has the same digits without dashes.
    """
    passed = _PARTS.fullmatch(environment.get(BOOT_VARIABLE, "").strip().lower())
    if passed:
        return "-".join(passed.groups())
    try:
        return file.read_text().strip() or None
    except (OSError, ValueError):
        return None


class Clocks(NamedTuple):
    """Clocks in seconds, and the identifier of the boot that the monotonic clock belongs to."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    boot: str

    @classmethod
    def system(cls) -> Clocks:
        """Return the clocks of this machine."""
        # Without an identifier, each start counts as one after a boot.
        return cls(time.monotonic, time.time, boot_id(os.environ) or f"unknown-{time.time_ns()}")

    def offset(self) -> int:
        """Return how many microseconds the wall clock is ahead of the monotonic one."""
        return microseconds(self.wall()) - microseconds(self.monotonic())
