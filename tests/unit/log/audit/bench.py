"""Helpers for the audit trail's tests: a trail on a real file, clocks set by hand, and its rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smart_meter.config import EventsConfig
from smart_meter.log.audit.kinds import Kind
from smart_meter.log.audit.store import Limits, Store
from smart_meter.log.audit.trail import Trail
from smart_meter.log.audit.waiting import Noted, Waiting
from tests.unit.history.bench import TIMEOUT, Hands, query

ALL = "kind, client, meter, text, detail, count"


class Bench:
    """A store that the test itself writes to."""

    def __init__(self, path: Path, hands: Hands | None = None, **settings: Any) -> None:
        self.path = path
        self.hands = hands or Hands()
        self.config = EventsConfig(str(path), **settings)
        self.waiting = Waiting()
        self.open()

    def open(self) -> None:
        self.store = Store(str(self.path), Limits.of(self.config), self.hands.clocks(), 1.0)

    def note(
        self, kind: Kind, text: str = "it happened", client: str = "", meter: str = "", detail: str = ""
    ) -> None:
        wall, now = self.hands.wall, self.hands.monotonic
        self.waiting.add(kind, text, client, meter, detail, wall=wall, now=now)

    def write(self) -> list[Noted]:
        taken = self.waiting.take()
        self.store.write(taken)
        return taken

    def add(self, kind: Kind, text: str = "it happened", client: str = "", **rest: str) -> None:
        """Write one event in a commit of its own."""
        self.note(kind, text, client, **rest)
        self.write()

    def rows(self, columns: str = ALL) -> list[Any]:
        return rows(self.path, columns)

    def count(self, kind: Kind, client: str | None = None) -> int:
        """Return the number of rows of a kind, and of a client."""
        found = query(self.path, "SELECT client FROM events WHERE kind = ?", kind.value)
        return sum(client is None or one == client for (one,) in found)


class Running:
    """A trail with its thread, and the lines that it logged."""

    def __init__(self, path: Path, hands: Hands | None = None, **settings: Any) -> None:
        self.path = path
        self.logged: list[str] = []
        self.config = EventsConfig(str(path), **settings)
        self.trail = Trail(self.config, self.logged.append, hands.clocks() if hands else None)

    def stop(self) -> bool:
        self.trail.close()
        return self.trail.join(TIMEOUT)

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, self.logged
            time.sleep(0.01)

    def wait_for_word(self, word: str) -> str:
        self.wait(lambda: any(word in line for line in self.logged))
        return next(line for line in self.logged if word in line)

    def rows(self, columns: str = ALL) -> list[Any]:
        return rows(self.path, columns)


def rows(path: Path, columns: str = ALL) -> list[Any]:
    """Return what another program sees in the file: values, or tuples for several columns."""
    found = query(path, f"SELECT {columns} FROM events ORDER BY id")  # noqa: S608 - the tests' own
    return [row[0] for row in found] if "," not in columns else found
