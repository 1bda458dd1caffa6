"""Where a writer's cycle begins, if it writes a sample in parts: found by its pauses.

Pure: each write comes with the seconds since the one before.

A round is what comes from one write to the next write of the same address. Its longest gap is the writer's
pause if it is clearly longer than the others; the write after it is the first of a cycle.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Collection
from typing import TypeVar

_T = TypeVar("_T")

TOGETHER = 0.05
"""Seconds: writes that follow one another within this time belong together."""
CLEAR = 3.0
"""How many times as long as any other gap a pause has to be."""
_EVEN = 2.0
"""A round whose longest gap is less than this many times its median has no pause."""
_KEPT = 8
"""Rounds whose verdicts are kept."""
_FIRST = 4
"""So many clear rounds at the beginning decide."""
_ENOUGH = 6
"""So many clear rounds out of those that are kept decide at any time."""
_EVEN_ROUNDS = 3
"""So many even rounds in a row decide that there is no pause."""
_PATIENCE = 12
"""So many rounds without a decision decide that there is no clear pause."""
_OUT_OF_ORDER = 8
"""After so many writes out of order without a whole sample, the order is looked for again."""
_WRITES = 4
"""A round is given up after so many writes for each register of the map."""
_LONG = 3.0
"""A gap of so many times the longest silence within a sample belongs to no round."""
_SHARE = 0.75
"""A silence that is this part of the writer's pause ends a sample."""


class Basis(enum.Enum):
    """Why a register is taken for the first one of a cycle."""

    CONFIGURED = "configured"
    LEARNED = "learned"
    ASSUMED = "assumed"
    """There is no clear pause: it is the map's first register."""


# A member of an enumeration costs a look-up each time.
_CONFIGURED = Basis.CONFIGURED


class _Verdict(enum.Enum):
    EVEN = enum.auto()
    UNCLEAR = enum.auto()


class _Round:
    """The writes from one of an address to the next."""

    __slots__ = ("gaps", "head", "registers")

    def __init__(self, head: int, registers: Collection[int]) -> None:
        self.head = head
        self.registers = set(registers)
        self.gaps: list[tuple[float, int]] = []
        """Each gap, with the address of the write that ended it."""


class Rhythm:
    """Learns where the cycle of one writer begins, and how long the writer pauses before it."""

    __slots__ = (
        "_addresses",
        "_count",
        "_gap",
        "_last_order",
        "_longest",
        "_out_of_order",
        "_pause",
        "_pauses",
        "_places",
        "_round",
        "_verdicts",
        "basis",
        "known",
        "silence",
        "start",
    )

    def __init__(self, addresses: frozenset[int], sample_gap: float, start: int | None) -> None:
        """addresses: the map's registers. sample_gap: the longest silence within a sample, in seconds.

        start: the configured first register of a cycle; None: it is to be found.
        """
        self._addresses = addresses
        self._longest = _WRITES * len(addresses)
        """A round with more gaps is given up."""
        self._gap = sample_gap
        self.start = start
        """The register that a cycle begins with; None: not known yet."""
        self.basis = None if start is None else Basis.CONFIGURED
        self._pause: float | None = None
        self._pauses: deque[float] = deque(maxlen=_KEPT)
        self._round: _Round | None = None
        self._verdicts: deque[int | _Verdict] = deque(maxlen=_KEPT)
        self._count = 0
        self._last_order: tuple[int, ...] = ()
        """The first registers of the writes of the last cycle."""
        self._places: dict[int, int] = {}
        """By each of them its place in the cycle, if the last two cycles were alike."""
        self._out_of_order = 0
        """How often a write came out of that order since the last whole sample."""
        self.known = False
        """Whether the start is more than an assumption."""
        self.silence = sample_gap
        """The seconds of silence that end a sample."""
        self._derive()

    def copy(self) -> Rhythm:
        """Return a rhythm that goes on from what this one has learned."""
        other = Rhythm(self._addresses, self._gap, self.start)
        other.basis = self.basis
        other._pause, other._pauses = self._pause, self._pauses.copy()
        other._verdicts = self._verdicts.copy()
        other._count = self._count
        other._last_order, other._places = self._last_order, self._places
        other._out_of_order = self._out_of_order
        if self._round is not None:
            other._round = _Round(self._round.head, self._round.registers)
            other._round.gaps = list(self._round.gaps)
        other._derive()
        return other

    def _derive(self) -> None:
        """Set what every write asks for, and what changes at the end of a round only."""
        self.known = self.basis is Basis.CONFIGURED or self.basis is Basis.LEARNED
        self.silence = self._gap if self._pause is None else min(self._gap, _SHARE * self._pause)

    def observe(self, address: int, registers: Collection[int], gap: float | None) -> bool:
        """Take note of a write; return whether that changes the start or its basis.

        registers: those of the map in it. gap: seconds since the write before.
        """
        if self.basis is _CONFIGURED:
            return False
        current = self._round
        if current is None or gap is None or gap >= _LONG * self._gap or address == current.head:
            before = self.start, self.basis
            if current is not None and gap is not None and address == current.head:
                current.gaps.append((gap, address))
                if len(current.registers) == len(self._addresses):
                    self._judge(current.gaps)
            self._round = _Round(address, registers)
            return before != (self.start, self.basis)
        current.gaps.append((gap, address))
        current.registers.update(registers)
        if len(current.gaps) > self._longest:
            self._round = None
        return False

    def _judge(self, gaps: list[tuple[float, int]]) -> None:
        self._count += 1
        gaps.sort()
        verdict = _verdict(gaps)
        self._verdicts.append(verdict)
        confirmed = self.basis is Basis.LEARNED and verdict == self.start
        if not confirmed and (self.basis is None or isinstance(verdict, int)):
            self._decide()
        if self.basis is Basis.LEARNED and verdict == self.start:
            self._pauses.append(gaps[-1][0])
            # Not the mean: a lost cycle looks like a pause of twice its length.
            self._pause = _middle(sorted(self._pauses))
        self._derive()

    def _decide(self) -> None:
        register, times = _most_frequent(self._verdicts)
        if register is not None and (register != self.start or self.basis is not Basis.LEARNED):
            first = self.basis is None and len(self._verdicts) == _FIRST == times
            if times >= _ENOUGH or first:
                if register != self.start:
                    self._pause = None
                    self._pauses.clear()
                self.start, self.basis = register, Basis.LEARNED
        if self.basis is None and (self._is_even() or self._count >= _PATIENCE):
            self.start, self.basis = min(self._addresses), Basis.ASSUMED

    def completed(self, addresses: tuple[int, ...]) -> None:
        """Take note of the order of the writes of a whole sample. addresses: their first registers."""
        if addresses != self._last_order:
            self._last_order, self._places = addresses, {}
        elif not self._places:
            self._places = {address: place for place, address in enumerate(addresses)}
        self._out_of_order = 0

    def is_before(self, address: int, last: int) -> bool:
        """Whether a write comes before the last one, or in its place, in each cycle.

        address, last: the first registers of the two writes.
        """
        place = self._places.get(address)
        if place is None:
            return False
        last_place = self._places.get(last)
        return last_place is not None and place <= last_place

    def out_of_order(self) -> None:
        """Take note of a write that did not come in its place."""
        self._out_of_order += 1
        if self._out_of_order == _OUT_OF_ORDER:
            self._last_order, self._places = (), {}

    def _is_even(self) -> bool:
        return list(self._verdicts)[-_EVEN_ROUNDS:] == [_Verdict.EVEN] * _EVEN_ROUNDS


def _verdict(gaps: list[tuple[float, int]]) -> int | _Verdict:
    """Return the address of the write after the pause; or that there is no pause, or none that is clear.

    gaps: sorted, the longest one last.
    """
    longest, address = gaps[-1]
    if len(gaps) > 1 and longest >= TOGETHER and longest >= CLEAR * gaps[-2][0]:
        return address
    if longest < TOGETHER or longest < _EVEN * _middle(gaps)[0]:
        return _Verdict.EVEN
    return _Verdict.UNCLEAR


def _middle(ordered: list[_T]) -> _T:
    """Return the one in the middle, the lower one of two."""
    return ordered[(len(ordered) - 1) // 2]


def _most_frequent(verdicts: Collection[int | _Verdict]) -> tuple[int | None, int]:
    addresses = Counter(verdict for verdict in verdicts if isinstance(verdict, int))
    if not addresses:
        return None, 0
    return addresses.most_common(1)[0]
