"""Between the concentrator and the history, which may come and go with a new configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from smart_meter.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.statistics import Statistics

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
        self._stored = 0
        self._lost = 0

    def start(self, config: Config, now: float) -> None:
        """Open the history, if there is to be one. now: monotonic seconds."""
        if config.history.path:
            restored = self._open(config)
            for meter in self._concentrator.meters:
                last = restored.get(meter.name)
                if last is not None:
                    meter.restore(last.registers, last.flags, last.age, last.sequence, now)

    def reconfigure(self, config: Config) -> None:
        """Go on as a new configuration says: the meters keep the values that they have."""
        if self._history is None:
            if config.history.path:
                self._open(config)
        elif config.history.path:
            self._history.reconfigure(config.history, config.meters)
            self._concentrator.acknowledge_late = config.history.commit_interval == 0
        else:
            self._concentrator.recorder = None
            self._concentrator.acknowledge_late = False
            self.stop(0)

    def count(self, statistics: Statistics) -> None:
        """Bring the totals up to date."""
        history = self._history
        statistics.stored = self._stored + (history.stored if history is not None else 0)
        statistics.not_stored = self._lost + (history.lost if history is not None else 0)

    def stop(self, timeout: float) -> None:
        """Write what waits, and close; `timeout` in seconds."""
        if self._history is not None:
            self._history.stop(timeout)
            self._stored += self._history.stored
            self._lost += self._history.lost
            self._history = None
            # Replies that still wait learn that nothing more is stored.
            self._committed()

    def _open(self, config: Config) -> Mapping[str, Restored]:
        # Not before it is needed: SQLite takes its share of the start.
        from smart_meter.history import History  # noqa: PLC0415

        self._history = History(config.history, config.meters, self._tell, self._committed)
        restored = self._history.open()
        self._concentrator.recorder = self._history
        self._concentrator.acknowledge_late = config.history.commit_interval == 0
        return restored
