"""How much the history keeps."""

from __future__ import annotations

from dataclasses import dataclass

from smart_meter.config import HistoryConfig
from smart_meter.history.clock import DAY

PAGE = 4096
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration comes to; pages are of `PAGE` bytes."""

    age: int
    """Microseconds of running time."""
    pages: int
    """Of the database itself; what is left of max_size_mib is the WAL's."""
    checkpoint: int
    """Pages in the WAL that are moved into the database."""
    transaction: int
    """Bytes that one commit may add."""

    @classmethod
    def of(cls, config: HistoryConfig) -> Limits:
        """Return what the configuration asks for."""
        whole = int(config.max_size_mib * 2**20) // PAGE
        checkpoint = min(max(whole // 16, 16), 1000)
        transaction = min(max(whole // 16, 16), 512)
        return cls(
            int(config.max_age_days * DAY),
            whole - checkpoint - 3 * transaction - 16,
            checkpoint,
            transaction * PAGE,
        )
