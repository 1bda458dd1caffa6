"""Whose rows are deleted when the file is full.

An address's new rows replace its own oldest ones, never another's. So that an address with few rows also
finds room in a file that another has filled, that is full sooner for an address with many: one with a
sixteenth of all rows leaves an eighth of the file free, one with a 128th leaves a sixteenth. Only an address
that has no row yet can push out others' rows in a file without any room: those of the address that came last.

This is cheap: the number of each address's rows is kept, and where its oldest may lie. Rows are deleted in
windows of identifiers, without an index by address, which would double the bytes that a row takes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import NamedTuple

MAX_OWNERS = 64
"""Addresses whose rows are counted; the others count as one."""
_OTHERS = 2**32
"""The number of all others; no address has it."""
_UNKNOWN = 0
"""The number of rows without an address: those of the first release."""
_WINDOW = 2000
"""Identifiers that one statement looks at."""
_WINDOWS = 4
"""The most of these in a small commit."""
_COUNTED = "counted"
_MAX_UNCOUNTED = 12_288
"""The most rows that a start counts. There are more only if an earlier release added them."""


class Deleted(NamedTuple):
    """Rows of one address that were deleted."""

    rows: int
    owner: int
    running: int
    """The running time of the first."""


def owner_name(owner: int) -> str:
    """Return an owner's address for a log line."""
    if owner == _UNKNOWN:
        return "an unknown address"
    return "other addresses" if owner == _OTHERS else str(IPv4Address(owner % 2**32))


class Owners:
    """Counts each address's rows, and deletes its oldest."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[int, int] = {}
        self._low: dict[int, int] = {}
        """The id from which on an address's rows lie."""
        self._owed: dict[int, int] = {}
        """Rows that an address still has to give up; negative if it has given up more."""

    def count_all_as_unknown(self, oldest: int, newest: int) -> None:
        """Take all rows as those of an unknown address: the file was not extended before."""
        self._rows, self._low, self._owed = {}, {}, {}
        if newest:
            self._rows[_UNKNOWN], self._low[_UNKNOWN] = newest - oldest + 1, oldest

    def load(self, oldest: int, newest: int) -> None:
        """Read the counts, and count the rows that were added since they were stored."""
        execute = self._connection.execute
        found = execute("SELECT value FROM progress WHERE name = ?", (_COUNTED,)).fetchone()
        if found is None:
            self.count_all_as_unknown(oldest, newest)
            return
        self._rows, self._low, self._owed = {}, {}, {}
        for client, rows, low in execute("SELECT client, rows, low FROM owners ORDER BY low").fetchall():
            self._rows[client], self._low[client] = rows, max(low, oldest)
        counted = found[0]
        if newest - counted > _MAX_UNCOUNTED:
            self.add({_UNKNOWN: newest - counted}, counted + 1)
        else:
            added = execute(
                "SELECT ifnull(client, 0), count(*) FROM samples WHERE id > ? GROUP BY 1", (counted,)
            )
            self.add(dict(added.fetchall()), counted + 1)
        # An earlier release deletes rows without counting them.
        excess = sum(self._rows.values()) - (newest - oldest + 1 if newest else 0)
        for client in sorted(self._rows, key=lambda client: self._low[client]):
            taken = min(max(excess, 0), self._rows[client])
            self._remove(client, taken)
            excess -= taken

    def save(self, newest: int) -> None:
        """Store the counts, within a transaction."""
        self._connection.execute("DELETE FROM owners")
        self._connection.executemany(
            "INSERT INTO owners VALUES (?, ?, ?)",
            [(client, rows, self._low[client]) for client, rows in self._rows.items()],
        )
        self._connection.execute("INSERT OR REPLACE INTO progress VALUES (?, ?)", (_COUNTED, newest))

    def add(self, rows: Mapping[int, int], first: int) -> None:
        """Count rows that were added, by client. first: the lowest id that they may have."""
        for client, number in rows.items():
            owner = self._owner(client)
            self._rows[owner] = self._rows.get(owner, 0) + number
            self._low.setdefault(owner, first)

    def remove(self, rows: Mapping[int, int]) -> None:
        """Count rows that were deleted, by client."""
        for client, number in rows.items():
            self._remove(self._owner(client), number)

    def charge(self, clients: Mapping[int, int], row: float, free: int, pages: int) -> None:
        """Let each client give up as many rows as it adds, if the file is full for it.

        clients: how many rows each adds. row: pages that a row takes. free: pages that are free. pages: how
        many the file may have.
        """
        # First those who have to leave the most free. They replace rows, so the others have as much room.
        left_free = {client: self._left_free(self._owner(client), pages) for client in clients}
        for client in sorted(clients, key=left_free.__getitem__, reverse=True):
            rows = clients[client]
            needed = int(rows * row) + 1
            if free - needed >= left_free[client]:
                free -= needed
                continue
            owner = self._owner(client)
            owed = self._owed.get(owner, 0) + rows
            self._owed[owner] = min(owed, max(self._rows.get(owner, 0), rows))

    def debtors(self) -> dict[int, int]:
        """Return who has to give up rows, and how many."""
        return {owner: rows for owner, rows in self._owed.items() if rows > 0}

    def most(self, clients: Mapping[int, int]) -> int:
        """Return which of the clients adds the most rows. clients: the number of each one's rows."""
        return self._owner(max(clients, key=lambda client: clients[client]))

    def largest(self) -> int:
        """Return who has the most rows."""
        return max(self._rows, key=lambda owner: self._rows[owner], default=_UNKNOWN)

    def delete(self, owner: int, count: int, newest: int, added: int = 0) -> Deleted:
        """Delete about `count` of an owner's oldest rows, or of who pays for it; never the newest row.

        added: rows of all owners that the same commit adds.
        """
        payer = self._payer(owner)
        # Some more at a time: most commits then need not delete anything.
        count = max(count, min(self._rows.get(payer, 0) // 32, _WINDOW))
        condition = self._condition(payer)
        deleted, running = 0, 0
        # Where many owners' rows take turns, an owner's next rows lie as far apart as all new rows together.
        for _ in range(_WINDOWS + 2 * added // _WINDOW):
            low = self._low.get(payer, newest)
            end = min(low + _WINDOW, newest)
            if low >= end or deleted >= count:
                break
            ids = self._connection.execute(
                f"SELECT id, running FROM samples WHERE id >= ? AND id < ? AND {condition} "  # noqa: S608 - integers
                "ORDER BY id LIMIT ?",
                (low, end, count - deleted),
            ).fetchall()
            if ids:
                running = running or ids[0][1]
                self._connection.execute(
                    f"DELETE FROM samples WHERE id >= ? AND id <= ? AND {condition}",  # noqa: S608 - as above
                    (low, ids[-1][0]),
                )
            # All of the window's are gone unless the limit was reached.
            self._low[payer] = ids[-1][0] + 1 if ids and deleted + len(ids) >= count else end
            deleted += len(ids)
        self._remove(payer, deleted)
        if self._low.get(payer, newest) >= newest and deleted < count:
            # It has no more rows, whatever was counted: another has to pay the next time.
            self._remove(payer, self._rows.get(payer, 0))
        self._owed[owner] = self._owed.get(owner, 0) - deleted
        if not deleted or owner not in self._rows:
            self._owed.pop(owner, None)
        return Deleted(deleted, payer, running)

    def _owner(self, client: int) -> int:
        return client if client in self._rows or len(self._rows) < MAX_OWNERS else _OTHERS

    def _remove(self, owner: int, rows: int) -> None:
        left = self._rows.get(owner, 0) - rows
        if left > 0:
            self._rows[owner] = left
        else:
            self._rows.pop(owner, None)
            self._low.pop(owner, None)
            self._owed.pop(owner, None)

    def _left_free(self, owner: int, pages: int) -> int:
        rows = self._rows.get(owner, 0)
        if owner == self._senior():
            rows += self._rows.get(_UNKNOWN, 0)
        total = sum(self._rows.values())
        if 16 * rows >= total:
            return pages // 8
        return pages // 16 if 128 * rows >= total else 0

    def _senior(self) -> int:
        """Return the address that the rows without one belong to: the one that has been there for longest."""
        known = [owner for owner in self._rows if owner not in (_UNKNOWN, _OTHERS)]
        return min(known, key=lambda owner: self._low[owner], default=_UNKNOWN)

    def _payer(self, owner: int) -> int:
        if self._rows.get(_UNKNOWN) and owner == self._senior():
            return _UNKNOWN
        if self._rows.get(owner):
            return owner
        return max(self._rows, key=lambda other: self._low[other], default=owner)

    def _condition(self, owner: int) -> str:
        if owner == _UNKNOWN:
            return "client IS NULL"
        if owner == _OTHERS:
            known = ", ".join(str(client) for client in self._rows if client != _OTHERS)
            return f"client IS NOT NULL AND client NOT IN ({known})"
        return f"client = {owner}"
