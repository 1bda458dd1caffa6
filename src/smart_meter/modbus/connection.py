"""Replies that wait. No I/O."""

from __future__ import annotations

from typing import NamedTuple


class Held(NamedTuple):
    """A reply that is held until its sample is committed."""

    ticket: int
    """Counts up from 1."""
    reply: bytes
    request: bytes
