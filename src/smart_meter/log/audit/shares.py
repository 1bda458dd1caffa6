"""How much of the audit trail each kind and each client may take, so that none pushes out another's rows.

Pure: it counts rows and bytes; the store deletes.
"""

from __future__ import annotations

from collections import deque

from smart_meter.history.running_time import SECOND
from smart_meter.log.audit.kinds import BY_ROOT, Kind

ROWS = 200
"""The most rows of one kind and client."""
NEW_ROWS = 50
"""The most new rows of one kind and client in an hour; further events have one row in common."""
HOUR = 3600 * SECOND
CLIENTS = 64
"""Clients with a share of their own of each kind; all others have one in common."""
OTHERS = "*"
"""The client of their rows."""
KEPT = frozenset(kind.value for kind in BY_ROOT | {Kind.START, Kind.STOP})
"""Kinds that are deleted for newer ones of the same kind only."""
KEPT_ROWS = 2000
"""The most rows of one of these."""
KEPT_PART = 16
"""One of these kinds may take this part of the whole size."""
ROW_BYTES = 120
"""What a row takes beside its text and detail, with its entry in the index, at most."""

Pair = tuple[str, str]
"""Kind and client."""


class _Share:
    __slots__ = ("bytes", "new", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self.new: deque[int] = deque(maxlen=NEW_ROWS)
        """When the newest rows were added: running time."""


class Shares:
    """The rows and bytes of each kind and client."""

    def __init__(self) -> None:
        self._shares: dict[str, dict[str, _Share]] = {}

    def client(self, kind: str, client: str) -> str:
        """Return the client that an event's row is of: its own, or `OTHERS`."""
        own = self._shares.get(kind, {})
        if not client or client in own or len(own.keys() - {"", OTHERS}) < CLIENTS:
            return client
        return OTHERS

    def is_flooded(self, pair: Pair, now: int) -> bool:
        """Return whether a kind and client had too many new rows in the last hour. now: running time."""
        new = self._share(pair).new
        return len(new) == NEW_ROWS and new[0] > now - HOUR

    def excess(self, pair: Pair, size: int, whole: int) -> int:
        """Return how many of a pair's oldest rows have to go for a new one. size, whole: bytes of both."""
        share, kind = self._share(pair), pair[0]
        if kind not in KEPT:
            return max(share.rows + 1 - ROWS, 0)
        of_kind = list(self._shares[kind].values())
        if sum(each.bytes for each in of_kind) + size > whole // KEPT_PART:
            return max(share.rows + 1 - KEPT_ROWS, min(share.rows, 8))
        return max(share.rows + 1 - KEPT_ROWS, 0)

    def add(self, pair: Pair, size: int, now: int) -> None:
        """Count a new row. size: bytes. now: running time."""
        self.count(pair, 1, size)
        self.remember(pair, now)

    def remember(self, pair: Pair, now: int) -> None:
        """Remember when a new row was added, which is counted already. now: running time."""
        self._share(pair).new.append(now)

    def count(self, pair: Pair, rows: int, size: int) -> None:
        """Add rows and bytes, or subtract them if they are negative."""
        share = self._share(pair)
        share.rows += rows
        share.bytes += size
        if share.rows <= 0:
            del self._shares[pair[0]][pair[1]]

    def largest(self) -> Pair | None:
        """Return who loses its oldest rows if the file is full: the largest kind's largest client.

        So a kind that takes no more than its equal part loses nothing. None: there are only kept kinds.
        """
        kinds = {
            kind: sum(share.bytes for share in clients.values())
            for kind, clients in self._shares.items()
            if kind not in KEPT and clients
        }
        if not kinds:
            return None
        kind = max(kinds, key=kinds.__getitem__)
        clients = self._shares[kind]
        return kind, max(clients, key=lambda client: clients[client].bytes)

    def _share(self, pair: Pair) -> _Share:
        return self._shares.setdefault(pair[0], {}).setdefault(pair[1], _Share())
