"""Counters, for the journal's statistics line and for systemd's status line."""

from __future__ import annotations

from collections.abc import Mapping


class PeerTotals:
    """What one peer brought and took, and what was refused."""

    __slots__ = ("_seen", "last_received", "last_refused", "last_served", "received", "refused", "served")

    def __init__(self, received: int = 0, served: int = 0, refused: int = 0) -> None:
        self.received = received
        self.served = served
        self.refused = refused
        """Its writes that got an exception, and so wrote nothing."""
        self.last_refused: float | None = None
        """When the last of them came, in monotonic seconds; None: none came."""
        self.last_received: float | None = None
        """When the last of them came, in monotonic seconds, as `notice` saw it; None: none came."""
        self.last_served: float | None = None
        self._seen = (received, served)

    def notice(self, now: float) -> None:
        """Take note of what has come since the last look. now: monotonic seconds."""
        received, served = self._seen
        if self.received != received:
            self.last_received = now
        if self.served != served:
            self.last_served = now
        self._seen = self.received, self.served

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PeerTotals):
            return NotImplemented
        counted = other.received, other.served, other.refused
        return (self.received, self.served, self.refused) == counted

    __hash__ = None  # type: ignore[assignment]  # it changes


class SharedStatus:
    """What every meter's status block shows of the whole concentrator."""

    __slots__ = ("generation", "unknown_units")

    def __init__(self) -> None:
        self.unknown_units = 0
        """Requests since the start for a unit identifier that no meter has."""
        self.generation = 0
        """The history's generation; 0: there is no history, or it is not open yet."""


class Statistics:
    """Totals since the start."""

    def __init__(self, peers: Mapping[str, PeerTotals] | None = None, **totals: int) -> None:
        """`totals` name those that do not begin at 0. Raises AttributeError for an unknown one."""
        self.refused = 0
        """Writes that got an exception and wrote nothing, and reads that their clients may not make."""
        self.exceptions = 0
        """Other requests that were answered with an exception."""
        self.connections = 0
        self.open_connections = 0
        self.bad_frames = 0
        """Connections closed because their stream was not Modbus."""
        self.unknown_clients = 0
        """Connections closed because their client is in no zone."""
        self.evicted = 0
        """Connections closed in favour of new ones: there were too many."""
        self.timed_out = 0
        """Connections closed because their client exceeded a timeout."""
        self.stored = 0
        """Samples in the history since the start."""
        self.not_stored = 0
        """Samples that the history could not take."""
        self.thinned = 0
        """Samples that the history left out since their clients were over their budgets."""
        self.peers = dict(peers or {})
        for name, total in totals.items():
            getattr(self, name)
            setattr(self, name, total)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistics) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # they change

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
