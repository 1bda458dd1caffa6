"""The history as the thread that serves Modbus sees it: it records samples and asks whether they are stored.

Nothing here blocks. SQLite is only loaded when a History is created, so a service without one starts faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from smart_meter.config import HistoryConfig, MeterConfig
from smart_meter.history.clocks import Clocks
from smart_meter.history.maps import define
from smart_meter.history.sample_queue import MAX_WAITING, QueuedSample, SampleQueue
from smart_meter.history.spool import NAME, Found, Spool, SpoolError
from smart_meter.registers.layout import Layout

if TYPE_CHECKING:
    from smart_meter.history.database import Last


class Restored(NamedTuple):
    """A meter's last sample, as found at start."""

    registers: bytes
    """The map's whole span, in wire order."""
    measured: int | None
    """Unix seconds."""
    flags: int
    age: float | None
    """Seconds since it arrived; None if it is unknown, because the Pi was rebooted in between."""
    sequence: int
    """The number from which on the meter has to count."""
    client: int = 0
    """The sender; 0 if it is not known."""


class History:
    """Records every sample it is given. Call all methods from one thread; none of them raises."""

    def __init__(
        self,
        config: HistoryConfig,
        meters: Sequence[MeterConfig],
        log: Callable[[str], None],
        on_commit: Callable[[], None],
        clocks: Clocks | None = None,
        *,
        note: Callable[[str, str, str], None] = lambda *_: None,
        runtime: Path | None = None,
    ) -> None:
        """log: logs a line. on_commit: is called after each commit and each failure.

        note: notes an event for the audit trail: quarantined, deleted or lost; its text; its detail.
        runtime: a folder in memory that outlives the process, for the spool; None: there is none.

        The writer thread calls these; `open` may call `log` and `note` as well.
        """
        from smart_meter.history.writer import Writer  # noqa: PLC0415 - loads SQLite

        self._clocks = clocks or Clocks.system()
        self._log = log
        self._interval = config.commit_interval
        self._spool_path = None if runtime is None else runtime / NAME
        self._spool: Spool | None = None
        """What new samples are written to; None if there is none, or none is needed."""
        self._queue = SampleQueue()
        self._recorded = 0
        """The last ticket. The queue's head and length would give it, but not without taking the lock."""
        self._off = not config.path
        self._by_key: dict[int, MeterConfig] = {}
        """Each meter with each map and unit identifier that it has had; shared with the writer."""
        self._keys: dict[str, tuple[int, Callable[[bytes], bytes] | None]] = {}
        """Each meter's current key in `_by_key`, by name, and what removes its map's gaps, if any."""
        self._writer = Writer(
            config,
            self._queue,
            meters=self._by_key,
            log=log,
            on_commit=on_commit,
            clocks=self._clocks,
            note=note,
        )
        self._assign_keys(meters)

    @property
    def done(self) -> int:
        """Return the ticket up to which every sample is decided: committed or given up."""
        return self._queue.done

    @property
    def stored(self) -> int:
        """Return the number of samples written since start."""
        return self._writer.rows

    @property
    def lost(self) -> int:
        """Return the number of samples since start that will never be written."""
        return self._queue.dropped

    @property
    def deleted_young(self) -> int:
        """Return the rows deleted since start because the file was full, before they were too old."""
        return self._writer.young_rows.deleted

    @property
    def backlog(self) -> int:
        """Return how many samples wait to be written, scaled to `MAX_WAITING`; 0 while writing fails.

        Fewer may wait if they are large, and these count as so many more.
        """
        return 0 if self._writer.failing else len(self._queue) * MAX_WAITING // self._queue.limit

    @property
    def failing(self) -> bool:
        """Return whether the last attempt to write failed."""
        return self._writer.failing

    def open(self) -> dict[str, Restored]:
        """Open the file and start the writer; return the last sample of each meter that has one, by name."""
        restored: dict[str, Restored] = {}
        if not self._off:
            found, numbers = self._writer.open(), self._writer.numbers
            numbers.latest = {meter: numbers.first(meter) for meter in self._keys}
            for name, last in found.items():
                restored[name] = Restored(
                    last.registers,
                    last.measured,
                    last.flags,
                    self._age(last),
                    numbers.first(name),
                    last.client,
                )
            self._replay(restored)
        self._writer.start()
        return restored

    def record(  # noqa: PLR0917 - keywords would cost time at each sample
        self,
        meter: str,
        now: float,
        registers: bytes,
        measured: int | None,
        flags: int,
        client: int = 0,
    ) -> int:
        """Queue a sample and return its ticket: 1, 2, 3..., or 0 if no history is kept.

        meter: a name in the configuration. now: monotonic seconds, not before the last sample's.
        registers: the map's whole span, in wire order; not changed afterwards. measured: Unix seconds.
        client: the sender's IPv4 address as a signed 32-bit integer; 0: not known.
        """
        if self._off:
            return 0
        queue = self._queue
        samples = queue.samples
        key, pack = self._keys[meter]
        if pack is not None:
            registers = pack(registers)
        samples.append((key, now, measured, flags, registers, client))
        self._recorded = ticket = self._recorded + 1
        if self._spool is not None:
            self._spool.write(ticket, key, now, registers, measured, flags, client)
        if len(samples) >= queue.wake_at:
            queue.wake()
        return ticket

    @property
    def generation(self) -> int:
        """Return the history's generation, in which no sequence number repeats; 0: it is not known yet."""
        return 0 if self._off else self._writer.numbers.generation

    def first_number(self, meter: str) -> int:
        """Return the sequence number from which on a meter has to count that is new in the configuration."""
        return self._writer.numbers.first(meter)

    def use_numbers(self, latest: Mapping[str, int]) -> None:
        """Take each meter's latest sequence number, by name; call it once a second and before `stop`."""
        numbers = self._writer.numbers
        numbers.use(latest)
        if numbers.are_due and not self._off:
            self._queue.wake()

    def stored_up_to(self, ticket: int) -> bool | None:
        """Return None while a sample is undecided, True once it is on disk, False once it was given up."""
        return self._queue.is_stored(ticket)

    def reconfigure(self, config: HistoryConfig, meters: Sequence[MeterConfig]) -> None:
        """Apply a changed configuration; a path of "" pauses recording until the next change."""
        self._assign_keys(meters)
        self._off = not config.path
        self._interval = config.commit_interval
        self._use_spool()
        self._writer.config = config
        self._queue.wake()

    def stop(self, timeout: float) -> bool:
        """Write what is queued and close the file; return whether that succeeded within `timeout` seconds."""
        self._off = True
        self._writer.closing = True
        self._queue.wake()
        stored = self._writer.join(timeout) and not self._writer.failing
        if self._writer.all_stored and self._writer.spool is not None:
            self._spool = None
            self._writer.spool.remove()
            self._writer.spool = None
        return stored

    def _assign_keys(self, meters: Sequence[MeterConfig]) -> None:
        """Give a meter a new key if its map or unit changed; queued samples keep the old one."""
        for meter in meters:
            known = self._keys.get(meter.name)
            earlier = None if known is None else self._by_key[known[0]]
            if earlier is None or (meter.map, meter.unit_id) != (earlier.map, earlier.unit_id):
                key = len(self._by_key)
                layout = Layout(meter.map)
                self._add_key(key, meter, layout)
                self._keys[meter.name] = key, layout.pack if layout.has_gaps else None

    def _add_key(self, key: int, meter: MeterConfig, layout: Layout) -> None:
        self._by_key[key] = meter
        self._writer.registers = max(self._writer.registers, layout.size)
        self._queue.expect(self._writer.registers)
        if self._writer.spool is not None:
            self._writer.spool.define(key, meter)

    @property
    def spooled(self) -> bool | None:
        """Return whether samples that wait are in the spool; None if none has to be."""
        if self._off or self._interval == 0:
            return None
        return self._spool is not None and not self._spool.lacks_room

    def _replay(self, restored: dict[str, Restored]) -> None:
        """Queue the samples that an earlier run has not stored, and restore its latest ones."""
        found = self._open_spool()
        self._use_spool()
        spool = self._writer.spool
        if spool is None:
            return
        waiting = [sample for sample in found if sample.number > spool.committed]
        # One fewer than may wait, or the queue would drop some.
        kept = waiting[-max(min(self._queue.limit, MAX_WAITING) - 1, 1) :]
        keys: dict[tuple[str, int, str], int] = {}
        for key, meter in self._by_key.items():
            keys[meter.name, meter.unit_id, define(meter.map)] = key
            spool.define(key, meter)
        own: dict[int, int] = {}
        queued: list[QueuedSample] = []
        offsets: list[tuple[int, int]] = []
        for ticket, sample in enumerate(kept, 1):
            meter = sample.meter
            key = own.get(id(meter), -1)
            if key < 0:
                key = keys.setdefault((meter.name, meter.unit_id, define(meter.map)), len(self._by_key))
                own[id(meter)] = key
                if key not in self._by_key:
                    self._add_key(key, meter, Layout(meter.map))
            if not offsets or offsets[-1][1] != sample.offset:
                offsets.append((ticket, sample.offset))
            queued.append(
                (key, sample.arrived, sample.measured, sample.flags, sample.registers, sample.client)
            )
        spool.continue_with([sample.number for sample in kept])
        self._queue.samples = queued
        self._queue.dropped += len(waiting) - len(kept)
        self._recorded = len(queued)
        self._writer.resume(offsets)
        self._restore_from(found, restored)
        if waiting:
            self._log(
                f"[HISTORY] {len(kept)} samples that the last run had not stored are taken from {spool.path}"
                + (f"; {len(waiting) - len(kept)} older ones were lost" if len(kept) < len(waiting) else "")
            )

    def _open_spool(self) -> list[Found]:
        path = self._spool_path
        if path is None:
            return []
        try:
            self._writer.spool = spool = Spool.open(path, self._clocks.boot)
        except SpoolError as error:
            self._log(f"[HISTORY] {path} is ignored: {error}")
            return []
        except OSError as error:
            self._log(f"[HISTORY] {path} can't be read: {error.strerror}")
            return []
        return [] if spool is None else spool.find()

    def _use_spool(self) -> None:
        """Write new samples to the spool if they are to outlive the process before they are on disk."""
        path, writer = self._spool_path, self._writer
        if path is None or self._off or self._interval == 0:
            self._spool = None
            return
        if writer.spool is None:
            try:
                spool = Spool.create(path, self._clocks.boot)
            except OSError as error:
                self._log(f"[HISTORY] {path} can't be written: {error.strerror}. A kill would lose samples")
                self._spool_path = None
                return
            spool.continue_with([])
            for key, meter in self._by_key.items():
                spool.define(key, meter)
            writer.spool = spool
        writer.spool.offset = self._clocks.offset()
        self._spool = writer.spool

    def _restore_from(self, found: Sequence[Found], restored: dict[str, Restored]) -> None:
        latest = {sample.meter.name: sample for sample in found}
        for name, (key, _) in self._keys.items():
            sample, current = latest.get(name), self._by_key[key].map
            if sample is None or sample.meter.map.fingerprint != current.fingerprint:
                continue
            layout = Layout(current)
            age = max(self._clocks.monotonic() - sample.arrived, 0.0)
            stored = restored.get(name)
            is_older = stored is not None and stored.age is not None and stored.age < age
            if is_older or len(sample.registers) != layout.size:
                continue
            restored[name] = Restored(
                layout.unpack(sample.registers),
                sample.measured,
                sample.flags,
                age,
                self._writer.numbers.first(name),
                sample.client,
            )

    def _age(self, last: Last) -> float | None:
        if last.segment is None or last.segment.boot != self._clocks.boot:
            return None
        arrived = (last.running - last.segment.monotonic_offset) / 1e6
        return max(self._clocks.monotonic() - arrived, 0.0)
