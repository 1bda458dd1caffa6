"""The log's lines: one method for each event that is logged. Pure: returns text, prints nothing.

Reasons are worded where they are decided; `notice` takes finished text.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from smart_meter.config import ZoneConfig
from smart_meter.log.throttle import Suppressed
from smart_meter.meters.assembly import Dropped
from smart_meter.meters.sample import Sample
from smart_meter.meters.source import Source
from smart_meter.meters.statistics import Statistics
from smart_meter.modbus.attempt import Attempt
from smart_meter.registers.status_block import State


class Listening(NamedTuple):
    """The address and port that the service actually listens on."""

    host: str
    port: int
    trial: bool = False


class Direction(enum.Enum):
    """Whether data comes from a peer or goes to it."""

    RX = "rx"
    TX = "tx"


def spans(registers: Collection[int]) -> str:
    """Return addresses for people: `0-3, 6`."""
    found: list[list[int]] = []
    for address in sorted(registers):
        if found and found[-1][-1] == address - 1:
            found[-1][1:] = [address]
        else:
            found.append([address])
    return ", ".join("-".join(map(str, span)) for span in found)


def came(dropped: Dropped) -> str:
    """Return what came of a sample, and why it was dropped: `wrote registers 0-3 and not 4-7 within 2 s`."""
    what = f"wrote registers {spans(dropped.written)}"
    if dropped.missing:
        what += f" and not {spans(dropped.missing)}"
    return what + (f" {dropped.reason}" if dropped.silent else f": {dropped.reason}")


def missing(incomplete: Dropped) -> str:
    """Return what a stale meter's client leaves out: `writes registers 0-5, and 6-7 are missing`."""
    return f"writes registers {spans(incomplete.written)}, and {spans(incomplete.missing)} are missing"


class LogFormatter(Protocol):
    """Formats events for the log; text and JSON implement it. Each method returns what is to be printed.

    peer: the peer's name. client: its IP address. meter: the meter's name. total: the peer's since the start.
    suppressed: how many events of this kind were not logged since the client's last line.
    """

    def start(self, listening: Listening) -> str:
        """Format the banner: the configuration, and what the service waits for."""

    def received(self, sample: Sample, peer: str, client: str, total: int) -> str:
        """Format a completed sample. As text, the line has no client: [WRITER] shows who writes."""

    def served(self, meter: str, peer: str, address: int, quantity: int, total: int, *, inputs: bool) -> str:
        """Format a read. inputs: of input registers, not of holding registers."""

    def summary(self, direction: Direction, peer: str, suppressed: int, seconds: float, total: int) -> str:
        """Format how many samples or reads were not logged one by one in the last seconds."""

    def refused(
        self,
        peer: str,
        client: str,
        meter: str | None,
        attempt: Attempt,
        *,
        exception: int,
        reason: str,
        suppressed: Suppressed,
    ) -> str:
        """Format a request that got an exception. meter: None if no meter has the unit identifier.

        exception: its code. reason: why, as it follows the code.
        """

    def thinned(self, peer: str, client: str, meter: str, rate: float, suppressed: Suppressed) -> str:
        """Format that samples are left out of the history. rate: how many a second the client may store."""

    def probe(
        self,
        peer: str,
        client: str,
        meter: str | None,
        *,
        unit: int,
        functions: Sequence[int],
        suppressed: Suppressed,
    ) -> str:
        """Format a client that has announced itself as a probe of a unit identifier.

        functions: the codes that it may use there. meter: None if no meter has the unit identifier.
        """

    def state(self, meter: str, state: State, age: float | None, incomplete: Dropped | None = None) -> str:
        """Format a meter's new state. age: of its last sample in seconds; None: unknown or no sample yet.

        incomplete: what came of the next sample; None: nothing.
        """

    def incomplete(self, meter: str, dropped: Dropped, suppressed: Suppressed) -> str:
        """Format a sample that was written in parts and did not become whole."""

    def shown(self, meter: str, writes: int, suppressed: Suppressed) -> str:
        """Format that readers got values before the first sample was complete. writes: since the start."""

    def writer(self, meter: str, earlier: Source | None, source: Source, suppressed: Suppressed) -> str:
        """Format that another address writes a meter. earlier: None if it is the first one."""

    def two_writers(self, meter: str, first: Source, second: Source, suppressed: Suppressed) -> str:
        """Format that two addresses write one meter at the same time."""

    def assumed_start(self, meter: str, source: Source, register: int, suppressed: Suppressed) -> str:
        """Format that a writer's samples are assumed to begin with a register: it has no clear pause."""

    def slow_writer(self, meter: str, source: Source, sample_gap: float, suppressed: Suppressed) -> str:
        """Format that a writer takes longer between two writes than a sample may. sample_gap: in seconds."""

    def closed(self, peer: str, client: str, reason: str, suppressed: Suppressed) -> str:
        """Format a connection that was timed out or evicted."""

    def unknown_client(self, client: str, suppressed: Suppressed) -> str:
        """Format a client in no zone."""

    def bad_frame(self, peer: str, client: str, reason: str, suppressed: Suppressed) -> str:
        """Format a connection that was closed because its stream was not Modbus TCP."""

    def address(self, zone: ZoneConfig, *, present: bool) -> str:
        """Format that this machine lacks its address in a zone, or has it again."""

    def statistics(self, totals: Statistics, age: float | None, *, final: bool) -> str:
        """Format the totals. age: of the last sample, in seconds. final: the service has stopped."""

    def lost(self, lines: int) -> str:
        """Format how many lines could not be printed."""

    def notice(self, text: str) -> str:
        """Format any other text."""
