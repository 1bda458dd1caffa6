"""What the concentrator needs of a history."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

_LOOPBACK = int(IPv4Address("127.0.0.1"))


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
    """Return an IPv4 address as a signed 32-bit integer; 0 if the client has none.

    Signed, since SQLite then stores it in four bytes. An IPv4 address in an IPv6 one counts, and so does the
    loopback address of IPv6 as that of IPv4.
    """
    try:
        parsed: IPv4Address | IPv6Address | None = ip_address(address)
    except ValueError:
        return 0
    if isinstance(parsed, IPv6Address):
        if parsed.is_loopback:
            return _LOOPBACK
        parsed = parsed.ipv4_mapped
    if parsed is None:
        return 0
    number = int(parsed)
    return number - 2**32 if number >= 2**31 else number
