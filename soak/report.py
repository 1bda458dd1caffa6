"""The scenarios' outcomes as a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADINGS = ("what was tried", "how often", "what was lost")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one scenario."""

    tried: str
    often: str
    lost: str
    failures: tuple[str, ...] = ()
    """Every requirement that was violated; empty if the scenario passed."""

    @property
    def cells(self) -> tuple[str, str, str]:
        """Return the row of the table."""
        lost = self.lost
        if self.failures:
            lost = "; ".join((f"FAILED: {self.failures[0]}", *self.failures[1:], *([lost] if lost else [])))
        return self.tried, self.often, lost


class Ledger:
    """Collects the failures of a scenario."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def expect(self, holds: bool, failure: str) -> None:
        """Record a failure unless the condition holds."""
        if not holds and failure not in self.failures:
            self.failures.append(failure)

    def outcome(self, tried: str, often: str, lost: str) -> Outcome:
        """Return the row."""
        return Outcome(tried, often, lost, tuple(self.failures))


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: `1 kill`, `1,000 kills`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the table in Markdown, with aligned columns."""
    rows = [HEADINGS, *(outcome.cells for outcome in outcomes)]
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in escaped) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in escaped
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def document(outcomes: Sequence[Outcome], machine: str, seed: int, seconds: float) -> str:
    """Return the results as a Markdown page."""
    return (
        "# What was tried, and what was lost\n\n"
        f"Written by `make soak` in {seconds / 60:.1f} minutes, seed {seed}. {machine}. "
        "Apart from the flood, histories have no budget (max_samples_per_second = 0).\n\n"
        f"{table(outcomes)}\n"
    )
