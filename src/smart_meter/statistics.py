"""Counters, for the journal's statistics line and for systemd's status line."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class PeerTotals:
    """What one peer brought and took."""

    received: int = 0
    served: int = 0
    last_received: float | None = None
    """When the last of them came, in monotonic seconds, as `notice` saw it; None: none came."""
    last_served: float | None = None
    _seen: tuple[int, int] = field(default=(0, 0), repr=False)

    def notice(self, now: float) -> None:
        """Take note of what has come since the last look. now: monotonic seconds."""
        received, served = self._seen
        if self.received != received:
            self.last_received = now
        if self.served != served:
            self.last_served = now
        self._seen = self.received, self.served


@dataclass(slots=True)
class Statistics:
    """Totals since the start."""

    refused: int = 0
    """Writes of clients that may not write."""
    exceptions: int = 0
    """Other requests that were answered with an exception."""
    connections: int = 0
    open_connections: int = 0
    bad_frames: int = 0
    """Connections closed because their stream was no Modbus."""
    strangers: int = 0
    """Connections closed because no zone holds their client."""
    gave_way: int = 0
    """Connections closed in favour of new ones: there were too many."""
    expired: int = 0
    """Connections closed because their client did not do in time what it should."""
    stored: int = 0
    """Samples in the history since the start."""
    not_stored: int = 0
    """Samples that the history could not take."""
    peers: dict[str, PeerTotals] = field(default_factory=dict)

    @property
    def received(self) -> int:
        """Return how many samples arrived, of all peers."""
        return sum(totals.received for totals in self.peers.values())

    @property
    def served(self) -> int:
        """Return how many reads were answered, of all peers."""
        return sum(totals.served for totals in self.peers.values())

    def peer(self, name: str) -> PeerTotals:
        """Return the totals of a peer, from 0 where it is new."""
        return self.peers.setdefault(name, PeerTotals())
