"""What the concentrator needs of a history."""

from __future__ import annotations

from typing import Protocol


class SampleSink(Protocol):
    """Keeps samples; none of the methods blocks or raises."""

    def record(self, meter: str, now: float, registers: bytes, measured: int | None, flags: int) -> int:
        """Keep a sample; return its ticket, which counts up from 1. now: monotonic seconds."""

    def stored_up_to(self, ticket: int) -> bool | None:
        """Whether the sample is on disk; None: it is not known yet."""

    @property
    def backlog(self) -> int:
        """How many samples wait to be written; 0 while they can't be written."""
