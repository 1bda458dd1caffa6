"""The writer thread: it commits queued samples to the database, and keeps trying while the disk fails."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable

from smart_meter.config import HistoryConfig, MeterConfig
from smart_meter.history import backup, running_time
from smart_meter.history.appender import UnreadableError, append
from smart_meter.history.batches import Batch, Batches
from smart_meter.history.clocks import Clocks
from smart_meter.history.database import ROW_BYTES, Database, Last
from smart_meter.history.faults import FAULTS, explain, is_damage
from smart_meter.history.limits import StorageLimits
from smart_meter.history.quarantine import prune, quarantine
from smart_meter.history.running_time import microseconds
from smart_meter.history.sample_queue import BATCH, EARLY, MAX_WAITING, SampleQueue
from smart_meter.history.sequence_numbers import SequenceNumbers
from smart_meter.history.spool import Spool
from smart_meter.history.young_rows import YoungRows

RETRY_SECONDS = 5.0
"""Between two attempts to write while the disk fails."""
CHECK_SECONDS = 1.0
"""Between two checks of the wall clock and of the file's path."""
EXPIRE_SECONDS = 600.0
"""Between two deletions of rows that are older than the configured age."""
SIZE_SECONDS = 60.0
"""Between two looks at the size of the WAL and of quarantined files."""
LOCK_SECONDS = 1.0
"""How long the writer waits for another program's lock."""
START_LOCK_SECONDS = 0.2
"""The same while the service starts: its clients are waiting."""
QUARANTINE_SECONDS = 60.0
"""At least this long between two quarantined files: a broken disk must not fill up with them."""

_SPOOL = "spool"
"""The progress of a spool in the database: its identifier."""
_SPOOLED = "spooled"
"""The number up to which its samples are rows."""


class Writer:
    """Writes queued samples from a thread of its own, which `start` starts; `open` may be called before."""

    def __init__(
        self,
        config: HistoryConfig,
        queue: SampleQueue,
        *,
        meters: dict[int, MeterConfig],
        log: Callable[[str], None],
        on_commit: Callable[[], None],
        clocks: Clocks,
        note: Callable[[str, str, str], None],
    ) -> None:
        """`meters` maps keys to meters. Entries may be added while the writer runs, but are never changed."""
        self.config = config
        """The configuration to use: the other thread replaces it, this one applies it at its next turn."""
        self.closing = False
        self.failing = False
        self.all_stored = False
        """Whether the thread has ended and left no sample."""
        self.registers = 0
        """Bytes of registers in the largest sample; updated whenever `meters` grows."""
        self.rows = 0
        """Rows written since start."""
        self.young_rows = YoungRows(log, note)
        self.numbers = SequenceNumbers()
        """The meters' sequence numbers."""
        self.database: Database | None = None
        self.spool: Spool | None = None
        """Set by the other thread."""
        self._replayed = 0
        """The last ticket of a sample from the spool; 0 once it is known which of them are stored."""
        self._active = config
        """The configuration in force."""
        self._continues = 0
        """The generation whose sequence numbers the meters continue; 0: of no file, or of one without."""
        self._claimed: Database | None = None
        """The database in which these numbers are reserved."""
        self._queue = queue
        self._meters = meters
        self._log = log
        self._note = note
        self._noted_lost = 0
        """Lost samples that were noted."""
        self._on_commit = on_commit
        self._clocks = clocks
        self._seen_offset = clocks.offset()
        """The wall clock's offset as last seen."""
        self._batches = Batches(queue, self._seen_offset)
        now = clocks.monotonic()
        self._commit_at = now + config.commit_interval
        self._try_at = self._check_at = self._expire_at = now
        self._size_at = now
        self._wal_was_large = False
        """Whether the WAL was too large at the last look already."""
        self._quarantined_at: float | None = None
        self._logged: set[str] = set()
        """Reasons for the present failure that are already logged."""
        self._queue.wake_at = self._wake_at()
        # A daemon: a thread that is blocked in an fsync must not delay the program's exit.
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)

    def resume(self, offsets: list[tuple[int, int]]) -> None:
        """Write the queued samples, which are from the spool, soon after `start`.

        offsets: from which ticket on the wall clock had which offset.
        """
        self._replayed = self._queue.next_ticket - 1
        for ticket, offset in (*offsets, (self._replayed + 1, self._seen_offset)):
            self._batches.step(ticket, offset)
        if self._replayed:
            self._commit_at = self._clocks.monotonic()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the thread to end; return whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def open(self) -> dict[str, Last]:
        """Open the file, before `start`; return each meter's last row, by the meter's name.

        A damaged file is quarantined. A file that can't be opened is logged and tried again later. A missing
        file is left for the thread to create, and an older one for it to extend, so that the service does not
        wait for the disk.
        """
        if not os.path.lexists(self._active.path):
            # A restore was interrupted, or made before the first start.
            with contextlib.suppress(OSError):
                backup.replace(self._active.path)
        if not os.path.lexists(self._active.path) and os.path.isdir(os.path.dirname(self._active.path)):
            return {}
        found: dict[str, Last] = {}

        def read_last_rows() -> None:
            found.clear()
            database = self._open(START_LOCK_SECONDS)
            for meter in self._meters.values():
                last = database.last(meter)
                if last is not None:
                    found[meter.name] = last
            self.numbers.found = database.sequence_numbers()
            self._continues = database.generation

        try:
            self._replacing_damage(read_last_rows)
        except Exception as error:
            self._close()
            self._fail(error)
        return found

    def _run(self) -> None:
        if self._active.path and not self.failing:
            self._surviving(lambda: self._replacing_damage(self._create))
        ended = False
        while not ended:
            self._queue.wait(self._seconds_to_wait())
            ended = self.closing
            self._surviving(lambda: self._turn(last=ended))  # noqa: B023 - called at once
        if self.failing or self._batches.taken or len(self._queue):
            self._discard()
        else:
            self._surviving(self._keep_exact_numbers)
            self.all_stored = True
        self._close()

    def _surviving(self, action: Callable[[], None]) -> None:
        """Call `action`; treat any error as a failure to write."""
        try:
            action()
        except Exception as error:
            # Even a bug must not end the thread: later samples still have to be written.
            self._close()
            self._fail(error)
            self._on_commit()

    def _seconds_to_wait(self) -> float:
        now = self._clocks.monotonic()
        if self.closing:
            return 0.0
        if self.failing:
            return min(self._try_at - now, CHECK_SECONDS)
        if not self._active.path:
            return CHECK_SECONDS
        if self._active.commit_interval == 0:
            return 0.0 if self._queue.samples else CHECK_SECONDS
        return min(self._commit_at - now, CHECK_SECONDS)

    def _turn(self, *, last: bool) -> None:
        """Do what is due: check the clock, apply a new configuration, write. last: write even if not due."""
        now = self._clocks.monotonic()
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            self._check_clock_and_file()
        if self.config is not self._active:
            self._apply(self.config)
        # Without a path, samples that could not be written before wait for the next path, or for the end.
        if self._active.path:
            if self.failing and now < self._try_at and not last:
                if self._active.commit_interval == 0 and self._queue.give_up():
                    self._on_commit()
            elif last or self.failing or self.numbers.are_due or self._is_due(now):
                self._commit_at = now + self._active.commit_interval
                self._write(at_least_open=self.numbers.are_due)
        self._queue.wake_at = self._wake_at()

    def _wake_at(self) -> int:
        if self._active.commit_interval == 0:
            return 1
        return min(MAX_WAITING, self._queue.limit) if self.failing else self._early()

    def _early(self) -> int:
        return max(min(EARLY, self._queue.limit // 4), 1)

    def _is_due(self, now: float) -> bool:
        interval = self._active.commit_interval
        return now >= self._commit_at or interval == 0 or len(self._queue) >= self._early()

    def _check_clock_and_file(self) -> None:
        """Note a step of the wall clock; close a file that was moved or deleted."""
        monotonic, wall = microseconds(self._clocks.monotonic()), microseconds(self._clocks.wall())
        if running_time.has_stepped(self._seen_offset, monotonic, wall):
            self._seen_offset = wall - monotonic
            if self.spool is not None:
                self.spool.offset = self._seen_offset
            self._batches.step(self._queue.next_ticket, self._seen_offset)
        path = self._active.path
        if path and (backup.is_waiting(path) or backup.has_rows_to_append(path)) and not self.failing:
            self._take_copy(path)
        if self.database is not None and self._clocks.monotonic() >= self._size_at:
            self._size_at = self._clocks.monotonic() + SIZE_SECONDS
            self._check_size(self.database)
        if self.database is not None and not self.database.is_in_place():
            self._log(
                f"[HISTORY] {self.database.path} was moved or deleted: recording continues in a new file"
            )
            self._close()

    def _check_size(self, database: Database) -> None:
        """Count quarantined files, and log which program keeps the WAL from being emptied."""
        whole = int(self._active.max_size_mib * 2**20)
        try:
            database.elsewhere, deleted = prune(database.path, whole * 15 // 16)
        except OSError:
            deleted = []
        for name in deleted:
            self._log(f"[HISTORY] {name} was deleted: quarantined files took more than max_size_mib allows")
        size, was_large = database.wal_bytes(), self._wal_was_large
        self._wal_was_large = size > 2 * database.limits.wal
        if self._wal_was_large and was_large:
            with contextlib.suppress(OSError):
                reader = database.reader()
                if reader is not None:
                    self._log(
                        f"[HISTORY] {reader} keeps reading {database.path}: the WAL has grown to "
                        f"{size / 2**20:.0f} MiB, beyond max_size_mib; end that program, or its transaction"
                    )

    def _take_copy(self, path: str) -> None:
        """Make a copy that waits beside the history the history, and append the rows of the one before."""
        self._write()
        if self.failing:
            return
        self._close()
        backup.replace(path)
        self._replacing_damage(lambda: self._append_replaced(path))

    def _append_replaced(self, path: str) -> None:
        count = 0
        if backup.has_rows_to_append(path):
            # A database of its own: the other's cached ids are those of this run's meters.
            with contextlib.closing(Database(path, StorageLimits.of(self._active), LOCK_SECONDS)) as database:
                count = self._append_rows(database, path + backup.BEFORE)
                # The copy got a generation of its own: no number of it is in use.
                self._continues = database.generation
            backup.discard_replaced(path)
        self._log(f"[HISTORY] {path} was restored from a copy; {count} rows of the file before were appended")
        self._create()

    def _append_rows(self, database: Database, before: str) -> int:
        try:
            return append(database, before)
        except UnreadableError as error:
            moved = quarantine(before, self._clocks.wall())
            self._note("quarantined", f"the history's file before a restore: {error}", moved)
            self._log(f"[HISTORY] {before}: {error}. It was renamed to {moved}")
            return 0

    def _apply(self, config: HistoryConfig) -> None:
        """Apply a changed configuration; queued samples go to the old path if that can be written."""
        if config.path != self._active.path:
            if self._active.path and not self.failing:
                self._write()
            self._close()
            self.numbers.forget()
            self.failing = False
            self._logged.clear()
            self._active = config
            if config.path:
                self._write(at_least_open=True)
        elif self.database is not None:
            self.database.set_limits(StorageLimits.of(config))
        self._active = config
        self._commit_at = min(self._commit_at, self._clocks.monotonic() + config.commit_interval)

    def _write(self, *, at_least_open: bool = False) -> None:
        """Write everything queued so far, in as many commits as its size requires; log a failure."""
        end = self._queue.next_ticket
        try:
            if at_least_open or self.failing:
                self._replacing_damage(self._commit)
            while self._batches.taken or self._queue.head < end:
                self._replacing_damage(self._commit)
        except FAULTS as error:
            self._close()
            self._fail(error)
            self._on_commit()
            return
        if self.failing:
            self._recovered()

    def _replacing_damage(self, action: Callable[[], None]) -> None:
        """Call `action`; if the file turns out to be damaged, quarantine it and call `action` once more."""
        try:
            action()
        except FAULTS as error:
            self._close()
            if not is_damage(error) or not self._may_quarantine():
                raise
            path = self._active.path
            moved = quarantine(path, self._clocks.wall())
            self._size_at = self._clocks.monotonic()
            self._note("quarantined", f"the history: {explain(error, path)}; it was renamed", moved)
            self._log(
                f"[HISTORY] {path}: {explain(error, path)}. It was renamed to {moved}; a new one was started"
            )
            action()

    def _may_quarantine(self) -> bool:
        now = self._clocks.monotonic()
        if self._quarantined_at is not None and now < self._quarantined_at + QUARANTINE_SECONDS:
            return False
        self._quarantined_at = now
        return True

    def _open(self, lock_seconds: float) -> Database:
        if self.database is None:
            self.database = Database(self._active.path, StorageLimits.of(self._active), lock_seconds)
        return self.database

    def _create(self) -> None:
        self._reserve_numbers(self._open(LOCK_SECONDS))

    def _reserve_numbers(self, database: Database) -> None:
        """Reserve sequence numbers, if that is due, in a transaction of its own."""
        if database is self._claimed and not self.numbers.are_due:
            return
        continued = database.created or database.generation in (0, self._continues)
        with database.transaction():
            # Numbers that were used before this file was opened could repeat some of an earlier run.
            if database is not self._claimed and not continued:
                database.begin_generation(database.newest + 1)
            ahead = self.numbers.ahead()
            database.keep_sequence_numbers(ahead)
        self._claimed = database
        self._continues = database.generation
        self.numbers.committed(database.generation, ahead)

    def _keep_exact_numbers(self) -> None:
        if self.database is not None and self.database is self._claimed:
            with self.database.transaction():
                self.database.keep_sequence_numbers(self.numbers.latest)

    def _commit(self) -> None:
        """Write the samples taken before, and as many queued ones as one commit may hold."""
        database = self._open(LOCK_SECONDS)
        self._reserve_numbers(database)
        self._leave_out_stored(database)
        registers = self.registers
        self._batches.take(max(database.limits.transaction // (registers + ROW_BYTES), 1))
        count = self._batches.count()
        if count == 0:
            return
        now = self._clocks.monotonic()
        spool, end = self.spool, 0
        if spool is not None and (self._active.commit_interval or spool.committed < spool.last):
            end = spool.number(self._queue.head - 1)
        more = False
        database.shrink()
        with database.transaction():
            database.make_room(count, registers, [batch.samples for batch in self._batches.taken])
            for batch in self._batches.taken:
                self._begin_segment(database, batch)
                database.insert(batch.samples, self._meters)
            if now >= self._expire_at:
                more = database.expire(database.running, count)
            if spool is not None and end:
                database.keep_progress({_SPOOL: spool.id, _SPOOLED: end})
        if not more and now >= self._expire_at:
            self._expire_at = now + EXPIRE_SECONDS
        if spool is not None and end:
            spool.mark_committed(end)
        self._batches.clear()
        self.young_rows.report(database, self._active.max_age_days, now)
        self.rows += count
        self._queue.mark_committed()
        self._on_commit()

    def _leave_out_stored(self, database: Database) -> None:
        """Leave out samples of the spool whose commit was the last thing before a kill."""
        if not self._replayed or self.spool is None:
            return
        queue, spool = self._queue, self.spool
        stored = database.progress(_SPOOLED) if database.progress(_SPOOL) == spool.id else 0
        while queue.head <= self._replayed and spool.number(queue.head) <= stored:
            left = range(queue.head, min(self._replayed, queue.head + BATCH - 1) + 1)
            queue.take(sum(spool.number(ticket) <= stored for ticket in left), None)
        self._replayed = 0
        spool.mark_committed(stored)
        queue.mark_committed()

    def _begin_segment(self, database: Database, batch: Batch) -> None:
        """Begin a segment if the batch is the first in an opened file, or follows a step of the clock."""
        _, arrived, *_ = batch.samples[0]
        first = microseconds(arrived)
        wall = first + batch.offset
        segment = database.segment
        if segment is None:
            previous, boot = database.last_segment, self._clocks.boot
            database.begin_segment(running_time.first_segment(previous, database.running, boot, first, wall))
        elif segment.wall_offset + segment.monotonic_offset != batch.offset:
            database.begin_segment(running_time.step_segment(segment, first, wall))

    def _fail(self, error: BaseException) -> None:
        """Log the reason once and schedule another attempt; with interval 0, give up waiting samples."""
        self.failing = True
        self._try_at = self._clocks.monotonic() + RETRY_SECONDS
        path = self._active.path
        reason = explain(error, path)
        if reason not in self._logged:
            self._logged.add(reason)
            self._log(
                f"[HISTORY] {path}: {reason}. Modbus goes on; samples wait in memory until it can be written"
            )
        if self._active.commit_interval == 0:
            self._queue.give_up()

    def _recovered(self) -> None:
        self.failing = False
        self._logged.clear()
        lost = self._queue.dropped
        self._note_lost("samples were lost: the history could not be written for a while")
        note = f"{lost} samples were lost since the start" if lost else "no sample was lost"
        self._log(f"[HISTORY] {self._active.path}: recording again; {note}")

    def _discard(self) -> None:
        """Drop all samples that are not written, at the end of the thread."""
        count = self._queue.discard(self._batches.count())
        self._batches.clear()
        if count:
            if self.spool is None:
                self._note_lost("samples were lost: the history could not be written at the end")
                fate = "are lost"
            else:
                fate = f"wait in {self.spool.path} for the next start"
            self._log(f"[HISTORY] {count} samples could not be written and {fate}")
        self._on_commit()

    def _note_lost(self, text: str) -> None:
        lost = self._queue.dropped - self._noted_lost
        if lost:
            self._noted_lost = self._queue.dropped
            self._note("lost", text, f"{lost} samples")

    def _close(self) -> None:
        database, self.database = self.database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()
