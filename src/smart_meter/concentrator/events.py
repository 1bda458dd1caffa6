"""What can happen between the concentrator and a client, beside what happens to a meter."""

from __future__ import annotations

from typing import NamedTuple


class ReadServed(NamedTuple):
    """Registers were read, and the log takes a line for it."""

    meter: str
    address: int
    quantity: int
    inputs: bool
    """Whether they are input registers."""


class AccessRefused(NamedTuple):
    """A client asked for a function that it may not use."""

    meter: str
    writes: bool
    """Whether the function writes."""
    read_only: bool
    """Whether the client may use no function that writes."""


class ExceptionReturned(NamedTuple):
    """A request was answered with an exception for another reason than access, range or a second writer."""

    meter: str
    exception: int
    """Its code."""


class UnitUnknown(NamedTuple):
    """A request was answered with an exception, since no meter has its unit identifier."""


class StoreFailed(NamedTuple):
    """A write's sample is in the registers and could not be stored: it was answered with an exception."""


class ProbeAnnounced(NamedTuple):
    """A client has announced itself as a probe; its connection no longer counts."""

    meter: str | None
    """None: the unit identifier has none."""
    unit: int
    functions: tuple[int, ...]
    """The codes that the client may use there."""


class FrameInvalid(NamedTuple):
    """A stream can't be followed; its connection is being closed."""

    reason: str


class TimedOut(NamedTuple):
    """A client exceeded a timeout; its connection is being closed."""

    reason: str


class Evicted(NamedTuple):
    """A connection is being closed in favour of a new one."""


class Disconnected(NamedTuple):
    """A connection is gone, or gets no more replies."""
