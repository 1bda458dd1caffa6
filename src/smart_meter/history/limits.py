"""How much the history keeps."""

from __future__ import annotations

from typing import NamedTuple

from smart_meter.config import HistoryConfig
from smart_meter.history.running_time import DAY

PAGE = 1024
"""Bytes. A commit of one sample writes a page to the WAL: with SQLite's own 4096, half as much again."""


class StorageLimits(NamedTuple):
    """What the configuration comes to; pages are of `PAGE` bytes."""

    age: int
    """Microseconds of running time."""
    pages: int
    """Of the database itself; what is left of max_size_mib is the WAL's."""
    checkpoint: int
    """Pages in the WAL that are moved into the database."""
    transaction: int
    """Bytes that one commit may add."""

    @property
    def wal(self) -> int:
        """Return the bytes of WAL that are kept to be written again: to grow it anew would cost metadata."""
        return (self.checkpoint + self.transaction // PAGE) * (PAGE + 24) + 32

    @classmethod
    def of(cls, config: HistoryConfig) -> StorageLimits:
        """Return what the configuration asks for."""
        whole = int(config.max_size_mib * 2**20) // PAGE
        checkpoint = min(max(whole // 16, 16), 1000)
        transaction = min(max(whole // 16, 16), 2 * 2**20 // PAGE)
        return cls(
            int(config.max_age_days * DAY),
            whole - checkpoint - 3 * transaction - 16,
            checkpoint,
            transaction * PAGE,
        )
