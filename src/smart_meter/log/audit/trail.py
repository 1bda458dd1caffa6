"""The audit trail as the rest of the service sees it: it takes events, and its thread writes them.

SQLite is loaded in the thread, so the service starts as fast as without an audit trail. While the file
can't be written, events wait in memory, merged and bounded, and Modbus goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from smart_meter.config import EventsConfig
from smart_meter.history.clocks import Clocks
from smart_meter.history.sample_queue import Wakeup
from smart_meter.log.audit.kinds import Kind
from smart_meter.log.audit.waiting import Noted, Waiting

if TYPE_CHECKING:
    from smart_meter.log.audit.store import Store

RETRY_SECONDS = 5.0
"""Between two attempts to write while the disk fails."""
IDLE_SECONDS = 60.0
"""How long the thread sleeps, at most."""
EXPIRE_SECONDS = 3600.0
"""Between two deletions of events that are too old."""
LOCK_SECONDS = 1.0
"""How long the thread waits for another program's lock."""
QUARANTINE_SECONDS = 60.0
"""At least this long between two quarantined files: a broken disk must not fill up with them."""
FULL_SECONDS = 86_400.0
"""Between two lines about events that are deleted before they are too old."""


class Trail:
    """An `EventSink` that writes to a file. `note` may be called before `start`, and by any thread."""

    def __init__(
        self, config: EventsConfig, log: Callable[[str], None], clocks: Clocks | None = None
    ) -> None:
        """log: logs a line; the thread calls it."""
        self.config = config
        """The configuration to use: another thread replaces it, the trail's own applies it."""
        self.failing = False
        self.written = 0
        """Events written since the start, each one that was merged counted."""
        self.deleted_young = 0
        """Rows deleted since the start because the file was full, before they were too old."""
        self._path = config.path
        self._active = config
        """The configuration in force."""
        self._log = log
        self._clocks = clocks or Clocks.system()
        self._waiting = Waiting()
        self._taken: list[Noted] = []
        """Events that were taken and are not yet written."""
        self._store: Store | None = None
        self._wakeup = Wakeup()
        self._closing = False
        self._logged: set[str] = set()
        """Reasons for the present failure that are already logged."""
        now = self._clocks.monotonic()
        self._try_at = self._expire_at = now
        self._quarantined_at = self._full_at = float("-inf")
        # A daemon: a thread that is blocked in an fsync must not delay the program's exit.
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def note(self, kind: Kind, text: str, *, client: str = "", meter: str = "", detail: str = "") -> None:
        """Record an event that happened now; see `EventSink`."""
        clocks = self._clocks
        if self._waiting.add(kind, text, client, meter, detail, wall=clocks.wall(), now=clocks.monotonic()):
            self._wakeup.set()

    def reconfigure(self, config: EventsConfig) -> None:
        """Apply changed limits. The path stays: another one needs another trail."""
        self.config = config
        self._wakeup.set()

    def close(self) -> None:
        """Let the thread write what waits, and end. It does not block."""
        self._closing = True
        self._wakeup.set()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the thread to end after `close`; return whether all is written."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive() and not self.failing

    def _run(self) -> None:
        ended = False
        while not ended:
            self._wakeup.wait(self._seconds_to_wait())
            ended = self._closing
            try:
                self._turn(last=ended)
            except Exception as error:
                # Even a bug must not end the thread. An event that can't be written must not stop later ones.
                self._taken.clear()
                self._fail(error)
        self._close()
        lost = sum(event.events for event in [*self._taken, *self._waiting.take()])
        if lost:
            self._log(f"[EVENTS] {lost} events could not be written and are lost")

    def _seconds_to_wait(self) -> float:
        now = self._clocks.monotonic()
        if self._closing:
            return 0.0
        if self.failing:
            return min(max(self._try_at - now, 0.0), RETRY_SECONDS)
        if self._store is None or self._taken:
            return 0.0
        return self._waiting.seconds_to_wait(now, IDLE_SECONDS)

    def _turn(self, *, last: bool) -> None:
        from smart_meter.history.faults import FAULTS  # noqa: PLC0415 - loads SQLite

        now = self._clocks.monotonic()
        if self.failing and now < self._try_at and not last:
            return
        try:
            self._replacing_damage(self._write_due)
        except FAULTS as error:
            self._fail(error)
            return
        if self.failing:
            self.failing = False
            self._logged.clear()
            self._log(f"[EVENTS] {self._path}: the audit trail is written again")

    def _write_due(self) -> None:
        from smart_meter.log.audit.store import BATCH, Limits  # noqa: PLC0415 - loads SQLite

        store = self._open()
        if self.config is not self._active:
            self._active = self.config
            store.set_limits(Limits.of(self._active))
            self._expire_at = self._clocks.monotonic()
        now = self._clocks.monotonic()
        if self._closing or self._waiting.seconds_to_wait(now, 1.0) == 0.0:
            self._taken += self._waiting.take()
        while self._taken:
            batch = self._taken[:BATCH]
            store.write(batch)
            del self._taken[: len(batch)]
            self._waiting.mark_written(batch, now)
            self.written += sum(event.events for event in batch)
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_SECONDS
            self._count_quarantined(store)
            store.expire()
        self._note_young_rows(store, now)

    def _open(self) -> Store:
        from smart_meter.log.audit.store import Limits, Store  # noqa: PLC0415 - loads SQLite

        store = self._store
        if store is not None and not store.is_in_place():
            self._log(f"[EVENTS] {self._path} was moved or deleted: the audit trail continues in a new file")
            self._close()
            store = None
        if store is None:
            store = self._store = Store(self._path, Limits.of(self.config), self._clocks, LOCK_SECONDS)
            self._active = self.config
            self._count_quarantined(store)
        return store

    def _count_quarantined(self, store: Store) -> None:
        from smart_meter.history.quarantine import prune  # noqa: PLC0415 - with the rest of this thread's

        whole = int(self._active.max_size_mib * 2**20)
        store.elsewhere, deleted = prune(self._path, whole * 15 // 16)
        for name in deleted:
            self._log(f"[EVENTS] {name} was deleted: quarantined files took more than max_size_mib allows")

    def _note_young_rows(self, store: Store, now: float) -> None:
        """Log once a day that events are deleted before they are too old."""
        if not store.deleted_young:
            return
        self.deleted_young += store.deleted_young
        store.deleted_young = 0
        if now >= self._full_at:
            self._full_at = now + FULL_SECONDS
            self._log(
                f"[EVENTS] {self._path} is full: events younger than max_age_days "
                f"({self._active.max_age_days:g}) are deleted; raise max_size_mib"
            )

    def _replacing_damage(self, action: Callable[[], None]) -> None:
        """Call `action`; if the file turns out to be damaged, quarantine it and call `action` once more."""
        from smart_meter.history.faults import FAULTS, explain, is_damage  # noqa: PLC0415 - loads SQLite
        from smart_meter.history.quarantine import quarantine  # noqa: PLC0415 - with the rest of this thread's

        try:
            action()
        except FAULTS as error:
            self._close()
            now = self._clocks.monotonic()
            if not is_damage(error) or now < self._quarantined_at + QUARANTINE_SECONDS:
                raise
            self._quarantined_at = now
            reason = explain(error, self._path)
            moved = quarantine(self._path, self._clocks.wall())
            self._log(f"[EVENTS] {self._path}: {reason}. It was renamed to {moved}; a new one was started")
            self.note(Kind.QUARANTINED, f"the audit trail: {reason}; it was renamed", detail=moved)
            action()

    def _fail(self, error: BaseException) -> None:
        """Log the reason once and schedule another attempt."""
        from smart_meter.history.faults import explain  # noqa: PLC0415 - loads SQLite

        self._close()
        self.failing = True
        self._try_at = self._clocks.monotonic() + RETRY_SECONDS
        reason = explain(error, self._path)
        if reason not in self._logged:
            self._logged.add(reason)
            self._log(f"[EVENTS] {self._path}: {reason}. Modbus goes on; events wait in memory")

    def _close(self) -> None:
        from sqlite3 import Error  # noqa: PLC0415 - the thread has loaded it already

        store, self._store = self._store, None
        if store is not None:
            try:
                store.close()
            except Error:
                return
