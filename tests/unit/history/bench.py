"""Helpers for the history's tests: clocks set by hand, and a history whose commits can be waited for."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from smart_meter.config import Config, HistoryConfig, MeterConfig
from smart_meter.history import Clocks, History
from smart_meter.registers.register_map import Measurement, RegisterMap

TIMEOUT = 20.0
"""Seconds to wait for what must happen; long, since a passing test never waits that long."""
YEAR = 365.25 * 86400
PV = Config().meters[0]


def meter(name: str, unit_id: int = 1, scale: float = 1, measurement: str = "P") -> MeterConfig:
    return MeterConfig(name, unit_id, RegisterMap((Measurement(measurement, 0, scale=scale, unit="W"),)))


def registers(number: int) -> bytes:
    """Return the registers of a meter made by `meter`."""
    return (number % 65536).to_bytes(2)


class Hands:
    """Clocks that the test sets, with a boot identifier."""

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_600_000_000.0, boot: str = "a") -> None:
        self.monotonic = monotonic
        self.wall = wall
        self.boot = boot

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.monotonic, lambda: self.wall, self.boot)

    def pass_time(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def reboot(self, boot: str, off: float, jump: float = 0.0) -> None:
        """Be without power for `off` seconds, after which the wall clock is wrong by `jump`."""
        self.boot = boot
        self.monotonic = 10.0
        self.wall += off + jump


class Bench:
    """A history, the lines it logged, and a way to wait for it."""

    def __init__(
        self, path: Path, hands: Hands | None = None, runtime: Path | None = None, **settings: Any
    ) -> None:
        self.path = path
        self.runtime = runtime
        self.config = HistoryConfig(**{"path": str(path), "commit_interval": 0, **settings})
        self.hands = hands
        self.logged: list[str] = []
        self.noted: list[tuple[str, str, str]] = []
        self.commits = 0
        self._changed = threading.Condition()

    def make(self, meters: Sequence[MeterConfig] = (PV,)) -> History:
        clocks = self.hands.clocks() if self.hands else None
        return History(
            self.config, meters, self._log, self._committed, clocks, note=self._note, runtime=self.runtime
        )

    def open(self, meters: Sequence[MeterConfig] = (PV,)) -> History:
        self.history = self.make(meters)
        self.restored = self.history.open()
        return self.history

    def record(self, name: str, data: bytes, now: float | None = None, **rest: Any) -> int:
        assert self.hands or now is not None
        moment = self.hands.monotonic if now is None and self.hands else now
        assert moment is not None
        measured, flags, client = rest.get("measured"), rest.get("flags", 0), rest.get("client", 0)
        return self.history.record(name, moment, data, measured, flags, client)

    def stored(self, name: str, data: bytes, **rest: Any) -> int:
        """Record a sample and wait until it is on disk."""
        ticket = self.record(name, data, **rest)
        self.wait(lambda: self.history.stored_up_to(ticket) is not None)
        assert self.history.stored_up_to(ticket) is True
        return ticket

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT
        with self._changed:
            # Most conditions change with a commit or a logged line; the others are polled.
            while not self._changed.wait_for(condition, 0.01):
                assert time.monotonic() < deadline, (self.logged, self.history.done)

    def wait_for_word(self, word: str, count: int = 1) -> str:
        self.wait(lambda: sum(word in line for line in self.logged) >= count)
        return [line for line in self.logged if word in line][count - 1]

    def stop(self) -> bool:
        return self.history.stop(TIMEOUT)

    def reconfigure(self, **settings: Any) -> None:
        self.config = self.config._replace(**settings)

    def rows(self, columns: str = "registers", path: Path | None = None) -> list[Any]:
        """Return what another program sees in the file: values, or tuples for several columns."""
        rows = query(path or self.path, f"SELECT {columns} FROM samples ORDER BY id")  # noqa: S608 - the tests' own
        return [row[0] for row in rows] if "," not in columns else rows

    def _log(self, text: str) -> None:
        with self._changed:
            self.logged.append(text)
            self._changed.notify_all()

    def _note(self, *event: str) -> None:
        self.noted.append((event[0], event[1], event[2]))

    def _committed(self) -> None:
        with self._changed:
            self.commits += 1
            self._changed.notify_all()


def query(path: Path, sql: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, values).fetchall()


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
