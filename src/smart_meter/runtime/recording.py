"""Connects the concentrator with the history: restores the last values at start, then records samples.

A reload can switch the history on and off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.meters.statistics import Statistics
from smart_meter.registers.status_block import State

if TYPE_CHECKING:
    from smart_meter.history import History, Restored


class Recording:
    """Opens the history that the configuration asks for, and restores the meters' last values from it."""

    def __init__(
        self,
        concentrator: Concentrator,
        notice: Callable[[str], None],
        committed: Callable[[], None],
        note: Callable[[str, str, str], None] = lambda *_: None,
        runtime: Path | None = None,
    ) -> None:
        """notice: logs a text. committed: is called after each commit. All are called from other threads.

        note: notes an event, with the value of its kind, text and detail.
        runtime: the folder for samples that are not on disk yet; None: they are only in memory.
        """
        self._runtime = runtime
        self._concentrator = concentrator
        self._notice = notice
        self._committed = committed
        self._note = note
        self._history: History | None = None
        self._numbered: set[str] = set()
        """Names of the meters whose sequence numbers go on from the history's."""

    def start(self, config: Config) -> None:
        """Open the history if one is configured, and restore the values of meters that have none yet."""
        if not config.history.path:
            return
        restored = self._open(config)
        for meter in self._concentrator.meters:
            last = restored.get(meter.name)
            if last is not None:
                self._concentrator.expect_writer(meter.name, last.client)
            if last is not None and meter.state is State.WAITING:
                meter.restore(last.registers, last.age, last.sequence, self._concentrator.now())
        self._number_meters()

    def reconfigure(self, config: Config) -> None:
        """Apply a new configuration. The meters keep their values."""
        if self._history is None:
            self.start(config)
        else:
            # Without a path it takes no more samples; those that it has are still written.
            self._history.reconfigure(config.history, config.meters)
            self._concentrator.use_sink(self._history, durable=_durable(config))
            self._number_meters()

    def count(self, statistics: Statistics) -> None:
        """Update the totals of stored samples, and the history's numbers and generation: once a second."""
        history = self._history
        if history is not None:
            history.use_numbers(self._numbers())
            self._concentrator.shared.generation = history.generation
            statistics.stored = history.stored
            statistics.not_stored = history.lost

    def state(self) -> dict[str, Any] | None:
        """Return the history's totals for the state file; None if there is no history."""
        history = self._history
        if history is None:
            return None
        state = {"stored": history.stored, "lost": history.lost, "failing": history.failing}
        if history.spooled is not None:
            state["spooled"] = history.spooled
        if history.deleted_young:
            state["deleted_young"] = history.deleted_young
        return state

    def stop(self, timeout: float) -> None:
        """Write the waiting samples and close the history. timeout: in seconds."""
        if self._history is not None:
            self._history.use_numbers(self._numbers())
            self._history.stop(timeout)

    def _number_meters(self) -> None:
        """Let the meters that are new count on from the number that they had in the history."""
        history = self._history
        if history is None:
            return
        for meter in self._concentrator.meters:
            if meter.name not in self._numbered:
                meter.number_from(history.first_number(meter.name))
        self._numbered = {meter.name for meter in self._concentrator.meters}
        history.use_numbers(self._numbers())
        self._concentrator.shared.generation = history.generation

    def _numbers(self) -> dict[str, int]:
        return {meter.name: meter.sequence for meter in self._concentrator.meters}

    def _open(self, config: Config) -> Mapping[str, Restored]:
        # Only if it is needed: importing SQLite takes a good part of the start-up time.
        from smart_meter.history import History  # noqa: PLC0415

        self._history = History(
            config.history,
            config.meters,
            self._notice,
            self._committed,
            note=self._note,
            runtime=self._runtime,
        )
        restored = self._history.open()
        self._concentrator.use_sink(self._history, durable=_durable(config))
        return restored


def _durable(config: Config) -> bool:
    return bool(config.history.path) and config.history.commit_interval == 0
