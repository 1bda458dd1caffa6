"""What the concentrator needs of a history."""

from __future__ import annotations

from typing import Protocol

from smart_meter.meters.source import ipv4_number


class SampleSink(Protocol):
    """Keeps samples; none of the methods blocks or raises."""

    def record(  # noqa: PLR0917 - keywords would cost time at each sample
        self,
        meter: str,
        now: float,
        registers: bytes,
        measured: int | None,
        flags: int,
        client: int = 0,
    ) -> int:
        """Keep a sample; return its ticket, which counts up from 1. now: monotonic seconds.

        client: the sender's address as `client_number` returns it; 0: not known.
        """

    def stored_up_to(self, ticket: int) -> bool | None:
        """Whether the sample is on disk; None: it is not known yet."""

    @property
    def backlog(self) -> int:
        """How many samples wait to be written; 0 while they can't be written."""


def client_number(address: str) -> int:
    """Return what `ipv4_number` does as a signed 32-bit integer; 0 if a client has no IPv4 address.

    Signed, since SQLite then stores it in four bytes.
    """
    number = ipv4_number(address) or 0
    return number - 2**32 if number >= 2**31 else number
