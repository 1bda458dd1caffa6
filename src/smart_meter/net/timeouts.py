"""What a client may cost, and when its time is up: idle, in mid-frame, or not taking its replies."""

from __future__ import annotations

from typing import NamedTuple

from smart_meter.modbus.connection_state import Receiving, Sending


class Limits(NamedTuple):
    """What clients may cost; times in seconds."""

    connections: int
    connections_per_client: int
    idle: float
    """0: no limit."""
    frame: float


def exceeded(
    limits: Limits, receiving: Receiving, sending: Sending, *, quiet: float, mid_frame: float
) -> str | None:
    """Return which timeout a client exceeded, as a sentence for the log, or None.

    quiet: seconds since the client last sent or took a byte. mid_frame: seconds since the request began whose
    rest is missing.
    """
    if receiving is Receiving.MID_FRAME and mid_frame > limits.frame:
        return f"the rest of a request did not come within {limits.frame:g} s"
    if sending is Sending.BLOCKED and quiet > limits.frame:
        return f"it did not take its replies within {limits.frame:g} s"
    if limits.idle and quiet > limits.idle and sending is not Sending.HELD:
        return f"it was idle for {limits.idle:g} s"
    return None
