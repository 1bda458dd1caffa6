"""What the loop's thread sees of the history: it hands samples over, and asks what became of them.

Nothing here blocks. SQLite is loaded by the first History alone: a service that keeps none starts without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from smart_meter.config import HistoryConfig, MeterConfig
from smart_meter.history.clocks import Clocks
from smart_meter.history.sample_queue import SampleQueue

if TYPE_CHECKING:
    from smart_meter.history.database import Last


class Restored(NamedTuple):
    """A meter's last sample, as a start finds it."""

    registers: bytes
    """The map's whole span, in wire order."""
    measured: int | None
    """Unix seconds."""
    flags: int
    age: float | None
    """Seconds since it came; None where the Pi was booted in between, so that nobody can know."""
    sequence: int
    """The row's id: a number that grows with every sample."""


class History:
    """Keeps every sample that it is given; all methods are called from one thread, and none raises."""

    def __init__(
        self,
        config: HistoryConfig,
        meters: Sequence[MeterConfig],
        tell: Callable[[str], None],
        committed: Callable[[], None],
        clocks: Clocks | None = None,
    ) -> None:
        """`tell` gets what is worth a line of the journal; `committed` after each commit or failure.

        Both are called from the writer's thread; `tell` by `open`, too.
        """
        from smart_meter.history.writer import Writer  # noqa: PLC0415 - see above

        self._clocks = clocks or Clocks.system()
        self._queue = SampleQueue()
        self._items = self._queue.items
        self._recorded = 0
        self._off = not config.path
        self._by_key: dict[int, MeterConfig] = {}
        self._keys: dict[str, int] = {}
        self._writer = Writer(
            config,
            self._queue,
            meters=self._by_key,
            tell=tell,
            committed=committed,
            clocks=self._clocks,
        )
        self._name(meters)

    @property
    def done(self) -> int:
        """Return the ticket up to which every sample is decided: on disk, or given up."""
        return self._queue.done

    @property
    def stored(self) -> int:
        """Return how many samples were written since the start."""
        return self._writer.rows

    @property
    def lost(self) -> int:
        """Return how many samples will never be written, since the start."""
        return self._queue.dropped

    @property
    def backlog(self) -> int:
        """Return how many samples wait to be written; 0 while they can't be."""
        return 0 if self._writer.failing else len(self._queue)

    @property
    def failing(self) -> bool:
        """Return whether the last try to write has failed."""
        return self._writer.failing

    def open(self) -> dict[str, Restored]:
        """Open the file and begin to write; return the last sample of each meter that has one."""
        restored: dict[str, Restored] = {}
        if not self._off:
            for name, last in self._writer.open().items():
                restored[name] = Restored(last.registers, last.measured, last.flags, self._age(last), last.id)
        self._writer.start()
        return restored

    def record(self, meter: str, now: float, registers: bytes, measured: int | None, flags: int) -> int:
        """Take a sample and return its ticket: 1, 2, 3..., or 0 where no history is kept.

        meter: a name of the configuration. now: monotonic seconds, not before the last sample's.
        registers: the map's whole span, in wire order; not changed afterwards.
        """
        if self._off:
            return 0
        items = self._items
        items += (self._keys[meter], now, measured, flags, registers)
        self._recorded = ticket = self._recorded + 1
        if len(items) >= self._queue.ring_at:
            self._queue.ring()
        return ticket

    def stored_up_to(self, ticket: int) -> bool | None:
        """Return None while a sample is undecided, True once it is on disk, False once it was given up."""
        return self._queue.is_stored(ticket)

    def reconfigure(self, config: HistoryConfig, meters: Sequence[MeterConfig]) -> None:
        """Go on with a changed configuration; a path of "" ends the recording until the next change."""
        self._name(meters)
        self._off = not config.path
        self._writer.config = config
        self._queue.ring()

    def stop(self, timeout: float) -> bool:
        """Write what waits and close the file; return whether that was done within so many seconds."""
        self._off = True
        self._writer.closing = True
        self._queue.ring()
        return self._writer.join(timeout) and not self._writer.failing

    def _name(self, meters: Sequence[MeterConfig]) -> None:
        """Give each meter with its map a key: samples that wait keep theirs, though the map may change."""
        for meter in meters:
            key = self._keys.get(meter.name)
            if key is None or (meter.map, meter.unit_id) != (
                self._by_key[key].map,
                self._by_key[key].unit_id,
            ):
                key = len(self._by_key)
                self._by_key[key] = meter
                self._keys[meter.name] = key
                self._writer.registers = max(self._writer.registers, 2 * meter.map.quantity)

    def _age(self, last: Last) -> float | None:
        if last.segment is None or last.segment.boot != self._clocks.boot:
            return None
        arrived = (last.running - last.segment.monotonic) / 1e6
        return max(self._clocks.monotonic() - arrived, 0.0)
