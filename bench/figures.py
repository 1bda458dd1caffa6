"""Computes medians, ratios and verdicts on goals from records. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Record:
    """The values of one measurement of one server in one round."""

    row: str
    server: str
    round: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """Identifies a number: a value of a server in a row."""

    row: str
    server: str
    key: str


class Verdict(enum.Enum):
    """Whether a goal was reached."""

    REACHED = "reached"
    MISSED = "not reached"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a figure, or for its ratio to another figure of the same round."""

    title: str
    figure: Figure
    at_least: bool
    """Whether the bound is a minimum; otherwise it is a maximum."""
    bound: float
    to: Figure | None = None
    unit: str = ""
    worst: bool = False
    """Judge the worst round instead of the median."""

    def text(self) -> str:
        """Return the bound as the table shows it."""
        return f"{'≥' if self.at_least else '≤'} {self.show(self.bound)}"

    def show(self, value: float) -> str:
        """Return a value with the goal's unit."""
        digits = f"{value:.2f}" if self.to is not None else f"{value:,.0f}"
        return f"{digits} {self.unit}".rstrip()


class Figures:
    """All records of a run."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._values: dict[Figure, dict[int, float]] = {}
        for record in records:
            for key, value in record.values.items():
                figure = Figure(record.row, record.server, key)
                self._values.setdefault(figure, {})[record.round] = value

    def rounds(self, figure: Figure) -> list[float]:
        """Return the figure of each round that has it, in the order of the rounds."""
        return [value for _, value in sorted(self._values.get(figure, {}).items())]

    def median(self, figure: Figure) -> float | None:
        """Return the median over the rounds; None if nothing was measured."""
        return _reduce(median, self.rounds(figure))

    def total(self, figure: Figure) -> float | None:
        """Return the sum of all rounds."""
        return _reduce(sum, self.rounds(figure))

    def ratios(self, figure: Figure, to: Figure) -> list[float]:
        """Return the ratio within each round that has both: a slow moment of the machine slows both."""
        others = self._values.get(to, {})
        own = self._values.get(figure, {})
        return [own[number] / others[number] for number in sorted(own) if others.get(number)]

    def ratio(self, figure: Figure, to: Figure) -> float | None:
        """Return the median of the ratios within the rounds."""
        return _reduce(median, self.ratios(figure, to))

    def found(self, goal: Goal) -> list[float]:
        """Return the value of a goal in each round."""
        return self.rounds(goal.figure) if goal.to is None else self.ratios(goal.figure, goal.to)

    def value(self, goal: Goal) -> float | None:
        """Return the value that decides on a goal."""
        values = self.found(goal)
        if not goal.worst:
            return _reduce(median, values)
        return _reduce(min if goal.at_least else max, values)

    def judge(self, goal: Goal) -> Verdict:
        """Return whether a goal was reached."""
        value = self.value(goal)
        if value is None:
            return Verdict.UNKNOWN
        reached = value >= goal.bound if goal.at_least else value <= goal.bound
        return Verdict.REACHED if reached else Verdict.MISSED


def _reduce(how: Callable[[Sequence[float]], float], values: Sequence[float]) -> float | None:
    return how(values) if values else None
