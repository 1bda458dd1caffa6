"""Writers that send a sample in parts, for the tests: each value carries its client and its cycle."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from smart_meter.meters.meter import Meter

MAP = range(8)
"""The registers of the map that they write."""


def chance(seed: int) -> random.Random:
    """Return a source of chance that is the same in each run."""
    return random.Random(seed)  # noqa: S311 - no secret depends on it.


def incomplete(meter: Meter) -> list[tuple[str, dict[int, int]]]:
    """Return who has left which registers of a meter incomplete."""
    return [(stream.source.address, dict(stream.pending)) for stream in meter._open]


def value(client: int, cycle: int, register: int) -> int:
    """Return a register's value; it differs from that of any other client, cycle and register."""
    return client << 14 | (cycle & 0x7FF) << 3 | register


def cycles(registers: Sequence[int]) -> set[tuple[int, int]]:
    """Return the client and the cycle of each register of a sample."""
    return {(v >> 14, v >> 3 & 0x7FF) for v in registers}


@dataclass(frozen=True)
class Write:
    """A write that reaches the meter."""

    at: float
    """In seconds."""
    address: int
    values: tuple[int, ...]


@dataclass
class Hardship:
    """What goes wrong, each with its probability for one write."""

    reply_lost: float = 0.0
    """The client sends it again."""
    late: float = 0.0
    request_lost: float = 0.0
    """Neither the client nor the meter notices; the client goes on with the next write."""
    run_lost: float = 0.0
    """A run of writes is lost, and the client sends nothing until its next cycle."""
    silence: float = 3.0
    """The seconds of silence after such a run."""


@dataclass
class Program:
    """A program that writes the map in parts, one cycle after another."""

    order: Sequence[range]
    """The registers of each write of a cycle."""
    gap: float = 0.005
    """Seconds between two writes."""
    pause: float = 1.0
    """Seconds between the last write of a cycle and the first of the next one."""
    client: int = 0
    hardship: Hardship = field(default_factory=Hardship)
    retry: tuple[float, float] = (0.3, 1.2)
    """Seconds, from and to, after which a write is sent again or is late."""

    def writes(self, luck: random.Random, number: int, join: int = 0) -> Iterator[Write]:
        """Return the writes of so many cycles that reach the meter. join: how many the first cycle lacks."""
        now = luck.uniform(0, 2)
        trouble = self.hardship
        for cycle in range(number):
            lost = False
            for index, span in enumerate(self.order):
                if cycle == 0 and index < join:
                    continue
                now += self.gap if index else self.pause
                if trouble.late and luck.random() < trouble.late:
                    now += luck.uniform(*self.retry)
                if lost or (trouble.run_lost and luck.random() < trouble.run_lost):
                    lost = True
                    continue
                if trouble.request_lost and luck.random() < trouble.request_lost:
                    continue
                write = Write(now, span.start, tuple(value(self.client, cycle, r) for r in span))
                yield write
                while trouble.reply_lost and luck.random() < trouble.reply_lost:
                    now += luck.uniform(*self.retry)
                    yield Write(now, write.address, write.values)
            if lost:
                now += trouble.silence


def singles(registers: Sequence[int]) -> list[range]:
    """Return a cycle that writes one register after another."""
    return [range(register, register + 1) for register in registers]


ASCENDING = singles(MAP)
DESCENDING = singles(MAP[::-1])
TIMESTAMP_FIRST = singles([6, 7, *MAP[:6]])
HALVES = [range(4), range(4, 8)]
HALVES_BACKWARDS = [range(4, 8), range(4)]
