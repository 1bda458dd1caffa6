"""How much the history keeps on disk."""

from __future__ import annotations

from typing import NamedTuple

from smart_meter.config import HistoryConfig
from smart_meter.history.running_time import DAY

PAGE = 1024
"""Bytes. A commit of one sample writes a page to the WAL: SQLite's default, 4096, would write half more."""


class StorageLimits(NamedTuple):
    """Limits that follow from the configuration; pages have `PAGE` bytes."""

    age: int
    """Microseconds of running time."""
    pages: int
    """Of the database itself; the rest of max_size_mib is for the WAL."""
    checkpoint: int
    """Pages in the WAL at which they are moved into the database."""
    transaction: int
    """Bytes that one commit may add."""

    @property
    def wal(self) -> int:
        """Return the bytes of WAL that are kept for reuse: growing it again would write metadata."""
        return (self.checkpoint + self.transaction // PAGE) * (PAGE + 24) + 32

    @classmethod
    def of(cls, config: HistoryConfig) -> StorageLimits:
        """Return the limits for a configuration."""
        whole = int(config.max_size_mib * 2**20) // PAGE
        checkpoint = min(max(whole // 16, 16), 1000)
        transaction = min(max(whole // 16, 16), 2 * 2**20 // PAGE)
        return cls(
            int(config.max_age_days * DAY),
            whole - checkpoint - 3 * transaction - 16,
            checkpoint,
            transaction * PAGE,
        )
