"""The thread that brings samples to the disk, commit by commit, and does not give up."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from smart_meter.config import HistoryConfig, MeterConfig
from smart_meter.history import running_time
from smart_meter.history.clocks import Clocks
from smart_meter.history.database import Database, Last
from smart_meter.history.faults import FAULTS, explain, is_damage
from smart_meter.history.limits import StorageLimits
from smart_meter.history.quarantine import quarantine
from smart_meter.history.running_time import microseconds
from smart_meter.history.sample_queue import COLUMNS, EARLY, MAX_WAITING, PIECE, SampleQueue

RETRY_SECONDS = 5.0
"""Between two tries to write while the disk fails."""
LOOK_SECONDS = 1.0
"""Between two looks at the wall clock and at the file's place."""
EXPIRE_SECONDS = 600.0
PATIENCE = 1.0
"""Seconds that the writer waits for another program's lock."""
START_PATIENCE = 0.2
"""The same, while the program starts."""
QUARANTINE_SECONDS = 60.0
"""Between two files that are set aside: a broken disk must not fill itself with them."""


class _Piece(NamedTuple):
    """Samples that were taken and are not yet on disk."""

    items: list[object]
    offset: int
    """Of the wall clock, when they came."""


class Writer:
    """Writes what waits; `start()` begins the thread, and `open()` may be called before it does."""

    def __init__(
        self,
        config: HistoryConfig,
        waiting: SampleQueue,
        *,
        meters: dict[int, MeterConfig],
        tell: Callable[[str], None],
        committed: Callable[[], None],
        clocks: Clocks,
    ) -> None:
        """`meters` may grow while the writer runs; what stands in it stays."""
        self.config = config
        """Replaced to change it."""
        self.closing = False
        self.failing = False
        self.registers = 0
        """Bytes of registers of the largest sample; set whenever `meters` grows."""
        self.rows = 0
        """Written since the start."""
        self.database: Database | None = None
        self._used = config
        self._queue = waiting
        self._meters = meters
        self._tell = tell
        self._committed = committed
        self._clocks = clocks
        self._taken: list[_Piece] = []
        self._begun = False
        self._offset = self._seen_offset = clocks.offset()
        self._steps: deque[tuple[int, int]] = deque()
        now = clocks.monotonic()
        self._commit_at = now + config.commit_interval
        self._try_at = self._look_at = self._expire_at = now
        self._quarantined_at: float | None = None
        self._told: set[str] = set()
        self._queue.ring_at = self._ring_at()
        # A daemon, since one that is blocked in an fsync can't be waited for at exit.
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; return whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def open(self) -> dict[str, Last]:
        """Open the file, before `start`; return each meter's last row, by the meter's name.

        A file that can't be gone on with is set aside; one that can't be opened is told, and tried later. One
        that is not there is made by the thread: the service need not wait for the disk.
        """
        if not os.path.lexists(self._used.path) and os.path.isdir(os.path.dirname(self._used.path)):
            return {}
        found: dict[str, Last] = {}

        def look() -> None:
            found.clear()
            store = self._open(START_PATIENCE)
            for meter in self._meters.values():
                last = store.last(meter)
                if last is not None:
                    found[meter.name] = last

        try:
            self._guarded(look)
        except Exception as error:
            self._close()
            self._fail(error)
        return found

    def _run(self) -> None:
        if self._used.path and not self.failing:
            self._kept_alive(lambda: self._guarded(self._make))
        ended = False
        while not ended:
            self._queue.wait(self._seconds_to_wait())
            ended = self.closing
            self._kept_alive(lambda: self._turn(last=ended))  # noqa: B023 - called at once
        if self.failing or self._taken or len(self._queue):
            self._lose()
        self._close()

    def _kept_alive(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            # Whatever it is: the samples to come are still to be kept.
            self._close()
            self._fail(error)
            self._committed()

    def _seconds_to_wait(self) -> float:
        now = self._clocks.monotonic()
        if self.closing:
            return 0.0
        if self.failing:
            return min(self._try_at - now, LOOK_SECONDS)
        if not self._used.path:
            return LOOK_SECONDS
        if self._used.commit_interval == 0:
            return 0.0 if self._queue.items else LOOK_SECONDS
        return min(self._commit_at - now, LOOK_SECONDS)

    def _turn(self, *, last: bool) -> None:
        now = self._clocks.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        if self.config is not self._used:
            self._adopt(self.config)
        # Without a path, what could not be written before waits for the next one, or for the end.
        if self._used.path:
            if self.failing and now < self._try_at and not last:
                if self._used.commit_interval == 0 and self._queue.give_up():
                    self._committed()
            elif last or self.failing or self._is_due(now):
                self._commit_at = now + self._used.commit_interval
                self._write()
        self._queue.ring_at = self._ring_at()

    def _ring_at(self) -> int:
        if self._used.commit_interval == 0:
            return COLUMNS
        return (MAX_WAITING if self.failing else EARLY) * COLUMNS

    def _is_due(self, now: float) -> bool:
        return now >= self._commit_at or self._used.commit_interval == 0 or len(self._queue) >= EARLY

    def _look(self) -> None:
        """See whether the wall clock has stepped, and whether somebody took the file away."""
        monotonic, wall = microseconds(self._clocks.monotonic()), microseconds(self._clocks.wall())
        if running_time.stepped(self._seen_offset, monotonic, wall):
            self._seen_offset = wall - monotonic
            self._steps.append((self._queue.next_ticket, self._seen_offset))
        if self.database is not None and not self.database.is_in_place():
            self._tell(
                f"[HISTORY] {self.database.path} was moved or deleted: recording goes on in a new file"
            )
            self._close()

    def _adopt(self, config: HistoryConfig) -> None:
        """Go over to a changed configuration; what waits goes to the old path, if that can be written."""
        if config.path != self._used.path:
            if self._used.path and not self.failing:
                self._write()
            self._close()
            self.failing = False
            self._told.clear()
            self._used = config
            if config.path:
                self._write(at_least_open=True)
        elif self.database is not None:
            self.database.set_limits(StorageLimits.of(config))
        self._used = config
        self._commit_at = min(self._commit_at, self._clocks.monotonic() + config.commit_interval)

    def _write(self, *, at_least_open: bool = False) -> None:
        """Write all that waits now, in as many commits as its size takes; on failure, tell why."""
        end = self._queue.next_ticket
        try:
            if at_least_open or self.failing:
                self._guarded(self._commit)
            while self._taken or self._queue.head < end:
                self._guarded(self._commit)
        except FAULTS as error:
            self._close()
            self._fail(error)
            self._committed()
            return
        if self.failing:
            self._recovered()

    def _guarded(self, action: Callable[[], None]) -> None:
        """Act; where the file turns out to be damaged, set it aside and act once more."""
        try:
            action()
        except FAULTS as error:
            self._close()
            if not is_damage(error) or not self._may_quarantine():
                raise
            path = self._used.path
            aside = quarantine(path, self._clocks.wall())
            self._tell(
                f"[HISTORY] {path}: {explain(error, path)}. It was set aside as {aside}; a new one is begun"
            )
            action()

    def _may_quarantine(self) -> bool:
        now = self._clocks.monotonic()
        if self._quarantined_at is not None and now < self._quarantined_at + QUARANTINE_SECONDS:
            return False
        self._quarantined_at = now
        return True

    def _open(self, patience: float) -> Database:
        if self.database is None:
            self.database = Database(self._used.path, StorageLimits.of(self._used), patience)
            self._begun = False
        return self.database

    def _make(self) -> None:
        self._open(PATIENCE)

    def _commit(self) -> None:
        """Write what was taken before, and of what waits as much as one commit may hold."""
        store = self._open(PATIENCE)
        registers = self.registers
        self._take(max(store.limits.transaction // (registers + COLUMNS * 8), 1))
        count = sum(len(piece.items) for piece in self._taken) // COLUMNS
        if count == 0:
            return
        now = self._clocks.monotonic()
        more = False
        store.shrink()
        with store.transaction():
            store.make_room(count, registers)
            for piece in self._taken:
                self._begin_segment(store, piece)
                store.insert(piece.items, self._meters)
            if now >= self._expire_at:
                more = store.expire(store.running, count)
        if not more and now >= self._expire_at:
            self._expire_at = now + EXPIRE_SECONDS
        self._taken.clear()
        self.rows += count
        self._queue.stored()
        self._committed()

    def _take(self, most: int) -> None:
        """Take samples of one wall clock at a time, so many in all at most, with those taken before."""
        most -= sum(len(piece.items) for piece in self._taken) // COLUMNS
        while most > 0:
            while self._steps and self._steps[0][0] <= self._queue.head:
                self._offset = self._steps.popleft()[1]
            items = self._queue.take(min(most, PIECE), self._steps[0][0] if self._steps else None)
            if not items:
                # Samples may have been dropped in between, up to the next step or beyond it.
                if self._steps and self._steps[0][0] <= self._queue.head:
                    continue
                return
            self._taken.append(_Piece(items, self._offset))
            most -= len(items) // COLUMNS

    def _begin_segment(self, store: Database, piece: _Piece) -> None:
        first = microseconds(piece.items[1])  # type: ignore[arg-type]  # the column of monotonic seconds
        wall = first + piece.offset
        segment = store.segment
        if segment is None or not self._begun:
            store.begin_segment(running_time.begin(segment, store.running, self._clocks.boot, first, wall))
            self._begun = True
        elif segment.wall + segment.monotonic != piece.offset:
            store.begin_segment(running_time.step(segment, first, wall))

    def _fail(self, error: BaseException) -> None:
        self.failing = True
        self._try_at = self._clocks.monotonic() + RETRY_SECONDS
        path = self._used.path
        reason = explain(error, path)
        if reason not in self._told:
            self._told.add(reason)
            self._tell(
                f"[HISTORY] {path}: {reason}. Modbus goes on; samples wait in memory until it can be written"
            )
        if self._used.commit_interval == 0:
            self._queue.give_up()

    def _recovered(self) -> None:
        self.failing = False
        self._told.clear()
        lost = self._queue.dropped
        note = f"{lost} samples were lost since the start" if lost else "no sample was lost"
        self._tell(f"[HISTORY] {self._used.path}: recording again; {note}")

    def _lose(self) -> None:
        """Give up what can't be written any more, for good."""
        count = sum(len(piece.items) for piece in self._taken) // COLUMNS
        self._taken.clear()
        count = self._queue.lose(count)
        if count:
            self._tell(f"[HISTORY] {count} samples could not be written and are lost")
        self._committed()

    def _close(self) -> None:
        store, self.database = self.database, None
        if store is not None:
            with contextlib.suppress(sqlite3.Error):
                store.close()
