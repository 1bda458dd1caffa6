"""Connects the service with the audit trail: starts, stops, reloads, and steps of the clock.

A reload can switch the audit trail on and off, and move it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smart_meter import __version__
from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.log.audit.kinds import Kind
from smart_meter.meters.sample import iso_time

if TYPE_CHECKING:
    from smart_meter.log.audit.trail import Trail

_STEP_SECONDS = 0.5
"""A change of the wall clock that is a step; time servers slew smaller ones."""
_EARLY = 50
"""Events that are kept until the audit trail is open."""
_PROBLEMS = 5
"""Problems of a refused configuration that are recorded."""


class Auditing:
    """Notes what happens to the service itself, if the configuration names a file for it."""

    def __init__(
        self,
        concentrator: Concentrator,
        log: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """log: logs a line; any thread calls it."""
        self._concentrator = concentrator
        self._log = log
        self._monotonic = monotonic
        self._wall = wall
        self._offset = wall() - monotonic()
        self._trail: Trail | None = None
        self._closed: list[Trail] = []
        """Trails that a reload has closed, and that may still write."""
        self._early: list[tuple[Kind, str, str]] | None = []
        self._fingerprint = ""

    def start(self, config: Config, source: Path | None, listening: str) -> None:
        """Open the audit trail if one is configured. source: the configuration's file."""
        self._fingerprint = _fingerprint(source)
        if config.events.path:
            self._open(config, "started", f", {listening}")
        self._early = None

    def note(self, kind: Kind, text: str, detail: str = "") -> None:
        """Note an event of no client. Any thread may call it."""
        if self._early is not None:
            del self._early[_EARLY:]
            self._early.append((kind, text, detail))
        elif self._trail is not None:
            self._trail.note(kind, text, detail=detail)

    def note_of_history(self, kind: str, text: str, detail: str) -> None:
        """Note an event of the history; kind: the value of one. Any thread may call it."""
        self.note(Kind(kind), text, detail)

    def note_of_root(self, kind: Kind, text: str, detail: str) -> None:
        """Note an event that root added, and log it: it is in the journal too, and without an audit trail."""
        self._log(f"[EVENT] {' | '.join(part for part in (kind.value, text, detail) if part)}")
        self.note(kind, text, detail)

    def tick(self) -> None:
        """Note a step of the wall clock; call it once a second."""
        offset = self._wall() - self._monotonic()
        step, self._offset = offset - self._offset, offset
        # Slewing changes it by less in a second.
        if abs(step) > _STEP_SECONDS:
            now = self._wall()
            way = "forward" if step > 0 else "back"
            detail = f"from {_iso(now - step)} to {_iso(now)}"
            self.note(Kind.CLOCK, f"the clock was set {way} by {abs(step):.1f} s", detail)

    def reloaded(self, before: Config, config: Config, source: Path | None) -> None:
        """Note an accepted reload, and use the audit trail that it configures."""
        earlier, self._fingerprint = self._fingerprint, _fingerprint(source)
        changes = [f"configuration {earlier} -> {self._fingerprint}", *_changed_maps(before, config)]
        self.note(Kind.RELOAD, "the configuration was reloaded", "; ".join(changes))
        if before.events.path == config.events.path:
            if self._trail is not None:
                self._trail.reconfigure(config.events)
            return
        if self._trail is not None:
            self._trail.note(Kind.STOP, "the audit trail was switched off or moved by a reload")
            self._trail.close()
            self._closed.append(self._trail)
            self._trail = None
            self._concentrator.use_events(None)
        if config.events.path:
            self._open(config, "goes on: the audit trail was switched on or moved by a reload")

    def refused(self, problems: list[str]) -> None:
        """Note a refused reload."""
        more = len(problems) - _PROBLEMS
        rest = [f"and {more} more"] if more > 0 else []
        self.note(Kind.RELOAD_REFUSED, "a configuration was refused", "; ".join(problems[:_PROBLEMS] + rest))

    def stop(self, reason: str, timeout: float) -> None:
        """Note the stop, and write what waits. reason: a signal's name or a failure. timeout: in seconds."""
        self.note(Kind.STOP, f"smart-meter {__version__} stopped: {reason}", f"process {os.getpid()}")
        if self._trail is not None:
            self._trail.close()
            self._closed.append(self._trail)
        until = self._monotonic() + timeout
        for trail in self._closed:
            trail.join(max(until - self._monotonic(), 0.0))

    def state(self) -> dict[str, Any] | None:
        """Return the totals for the state file; None if there is no audit trail."""
        trail = self._trail
        if trail is None:
            return None
        state = {"written": trail.written, "failing": trail.failing}
        if trail.deleted_young:
            state["deleted_young"] = trail.deleted_young
        return state

    def _open(self, config: Config, what: str, more: str = "") -> None:
        # Only if it is needed, for the sake of the start.
        from smart_meter.log.audit.trail import Trail  # noqa: PLC0415

        self._trail = trail = Trail(config.events, self._log)
        maps = ", ".join(f"{meter.name} {meter.map.fingerprint}" for meter in config.meters)
        detail = f"process {os.getpid()}, configuration {self._fingerprint}, maps: {maps}{more}"
        trail.note(Kind.START, f"smart-meter {__version__} {what}", detail=detail)
        for kind, text, rest in self._early or ():
            trail.note(kind, text, detail=rest)
        trail.start()
        self._concentrator.use_events(trail)


def _fingerprint(source: Path | None) -> str:
    """Return the first digits that sha256sum prints of the configuration's file."""
    # After the start: importing it takes a millisecond on a Pi.
    from hashlib import sha256  # noqa: PLC0415

    try:
        return "none" if source is None else sha256(source.read_bytes()).hexdigest()[:12]
    except OSError:
        return "unknown"


def _changed_maps(before: Config, config: Config) -> list[str]:
    had = {meter.name: meter.map.fingerprint for meter in before.meters}
    has = {meter.name: meter.map.fingerprint for meter in config.meters}
    changes = [
        f"{name} {had.get(name, 'new')} -> {has.get(name, 'removed')}"
        for name in {**had, **has}
        if had.get(name) != has.get(name)
    ]
    return changes or ["maps as before"]


def _iso(wall: float) -> str:
    try:
        return iso_time(wall)
    except (ValueError, OverflowError, OSError):
        return f"{wall:.0f}"
