"""Who writes: one connection of a client's address."""

from __future__ import annotations


class Source:
    """A connection that writes to meters. Two sources are equal only if they are the same connection."""

    __slots__ = ("address", "peer")

    def __init__(self, address: str, peer: str = "") -> None:
        self.address = address
        """The client's address: the writer, whichever connection it uses."""
        self.peer = peer
        """The name of the device in its zone, for the log."""

    def __str__(self) -> str:
        return f"{self.peer} ({self.address})" if self.peer else self.address


NOBODY = Source("")
"""The source of writes that no client made."""
