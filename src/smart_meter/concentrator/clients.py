"""The clients that wrote last, for the state file: who they are, and what came of it. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from smart_meter.log.formatter import spans
from smart_meter.meters.assembly import Dropped
from smart_meter.meters.meter import Meter
from smart_meter.modbus.attempt import Attempt

MAX_CLIENTS = 16
"""Clients, each with one meter, that are remembered; the one that wrote longest ago goes."""


MAX_TEXT = 200
"""Characters of a reason, or of a list of registers."""


class Client:
    """One address and what it wrote to one meter."""

    __slots__ = (
        "address",
        "incomplete",
        "last_refused",
        "last_sample",
        "meter",
        "missing",
        "peer",
        "refusal",
        "refused",
    )

    def __init__(self, address: str, peer: str, meter: str | None) -> None:
        """peer: the device's name in its zone. meter: its name; None: no meter has the unit identifier."""
        self.address = address
        self.peer = peer
        self.meter = meter
        self.last_sample: float | None = None
        """When its last sample was complete, in monotonic seconds; None: none was."""
        self.refused = 0
        """Its writes that got an exception."""
        self.last_refused: float | None = None
        """When the last of them came, in monotonic seconds; None: none came."""
        self.refusal: tuple[int, Attempt, str] | None = None
        """That one's exception code, what it asked for, and the reason."""
        self.incomplete = 0
        """Its samples that were dropped before they were complete."""
        self.missing = ""
        """The registers that the last of them lacked."""

    def record(self) -> dict[str, object]:
        """Return it for the state file."""
        reason = ""
        if self.refusal is not None:
            code, attempt, why = self.refusal
            reason = _short(f"exception {code:02X} ({attempt.span}; {why})")
        return {
            "address": self.address,
            "peer": self.peer,
            "meter": self.meter,
            "last_sample": self.last_sample,
            "refused": self.refused,
            "last_refused": self.last_refused,
            "reason": reason,
            "incomplete": self.incomplete,
            "missing": self.missing,
        }


class Clients:
    """The last clients that wrote."""

    def __init__(self) -> None:
        self._clients: OrderedDict[tuple[str, str | None], Client] = OrderedDict()
        """The one that wrote longest ago first."""

    def refused(
        self, address: str, peer: str, meter: str | None, refusal: tuple[int, Attempt, str], now: float
    ) -> None:
        """Take note of a write that got an exception. now: monotonic seconds.

        refusal: the exception code, what the write asked for, and the reason.
        """
        client = self._of(address, peer, meter)
        client.refused += 1
        client.last_refused, client.refusal = now, refusal

    def dropped(self, meter: str, dropped: Dropped) -> None:
        """Take note of a sample that did not become complete."""
        client = self._of(dropped.source.address, dropped.source.peer, meter)
        client.incomplete += 1
        client.missing = _short(spans(dropped.missing))

    def record(self, meters: Iterable[Meter]) -> list[dict[str, object]]:
        """Return them for the state file, the last one first."""
        # Only now: a sample must cost nothing here.
        for meter in meters:
            writer = meter.writer
            if writer is None:
                continue
            client = self._clients.get((writer.address, meter.name))
            if client is None or client.last_sample != meter.arrived:
                self._of(writer.address, writer.peer, meter.name).last_sample = meter.arrived
        return [client.record() for client in reversed(self._clients.values())]

    def _of(self, address: str, peer: str, meter: str | None) -> Client:
        client = self._clients.pop((address, meter), None) or Client(address, peer, meter)
        client.peer = peer
        self._clients[address, meter] = client
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return client


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."
