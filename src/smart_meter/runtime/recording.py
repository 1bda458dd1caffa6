"""Between the concentrator and the history, which may come and go with a new configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.meters.statistics import Statistics
from smart_meter.registers.status_block import State

if TYPE_CHECKING:
    from smart_meter.history import History, Restored


class Recording:
    """Starts the history where there is to be one, and lets the meters take their last values from it."""

    def __init__(
        self, concentrator: Concentrator, tell: Callable[[str], None], committed: Callable[[], None]
    ) -> None:
        """`tell` takes the journal's notices; `committed` is called from another thread."""
        self._concentrator = concentrator
        self._tell = tell
        self._committed = committed
        self._history: History | None = None

    def start(self, config: Config) -> None:
        """Open the history, if there is to be one, and let meters that have no values yet take their last."""
        if not config.history.path:
            return
        restored = self._open(config)
        for meter in self._concentrator.meters:
            last = restored.get(meter.name)
            if last is not None and meter.state is State.WAITING:
                meter.restore(last.registers, last.flags, last.age, last.sequence, self._concentrator.now())

    def reconfigure(self, config: Config) -> None:
        """Go on as a new configuration says: the meters keep the values that they have."""
        if self._history is None:
            self.start(config)
        else:
            # Without a path it takes no more samples, and what it has goes on to the disk.
            self._history.reconfigure(config.history, config.meters)
            self._concentrator.use_sink(self._history, durable=_durable(config))

    def count(self, statistics: Statistics) -> None:
        """Bring the totals up to date."""
        history = self._history
        if history is not None:
            statistics.stored = history.stored
            statistics.not_stored = history.lost

    def state(self) -> dict[str, Any] | None:
        """Return how the history fares, for who looks from outside; None where there is none."""
        history = self._history
        if history is None:
            return None
        return {"stored": history.stored, "lost": history.lost, "failing": history.failing}

    def stop(self, timeout: float) -> None:
        """Write what waits, and close; `timeout` in seconds."""
        if self._history is not None:
            self._history.stop(timeout)

    def _open(self, config: Config) -> Mapping[str, Restored]:
        # Not before it is needed: SQLite takes its share of the start.
        from smart_meter.history import History  # noqa: PLC0415

        self._history = History(config.history, config.meters, self._tell, self._committed)
        restored = self._history.open()
        self._concentrator.use_sink(self._history, durable=_durable(config))
        return restored


def _durable(config: Config) -> bool:
    return bool(config.history.path) and config.history.commit_interval == 0
