"""The tables of a fleet benchmark, as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.figures import Figure, Figures, Goal
from bench.report import NOTHING, goal_table, ratio, table

_WORK = {"same": "nothing to change", "change": "a scale changed"}


class Deploy(NamedTuple):
    """The number of fresh Pis that one run of site.yml provisioned, and how many seconds it took."""

    pis: int
    seconds: float


def goals(count: int) -> Iterator[Goal]:
    """Yield the goals for a number of Pis."""
    for work, peer, bound in (("same", "floor", 1.5), ("same", "pyinfra", 2.0), ("change", "floor", 4.0)):
        name = {"floor": "`ssh PI true` in a row", "pyinfra": "pyinfra"}[peer]
        title = f"{count} Pi{'s' if count > 1 else ''}, {_WORK[work]}: time relative to {name}"
        yield Goal(
            title, _seconds(work, count, "ours"), at_least=False, bound=bound, to=_seconds(work, count, peer)
        )


def render(figures: Figures, counts: Sequence[int], deploys: Sequence[Deploy], preface: str) -> str:
    """Return all tables."""
    parts = [
        ("Goals", goal_table(figures, [goal for count in reversed(counts) for goal in goals(count)])),
        ("Redeploy", redeploy_table(figures, counts)),
        ("First deploy with site.yml", deploy_table(deploys)),
    ]
    shown = [f"## {title}\n\n{text}" for title, text in parts if text]
    return "\n\n".join(["# Redeploying a fleet", preface, *shown]) + "\n"


def redeploy_table(figures: Figures, counts: Sequence[int]) -> str:
    """Return the seconds by work and number of Pis."""
    lines = []
    for work, title in _WORK.items():
        for count in counts:
            floor, ours, pyinfra = (_seconds(work, count, way) for way in ("floor", "ours", "pyinfra"))
            medians = (_show(figures.median(figure)) for figure in (floor, ours, pyinfra))
            ratios = (ratio(figures.ratio(ours, to)) for to in (floor, pyinfra))
            lines.append((title, str(count), *medians, *ratios))
    head = ("work", "Pis", "ssh in a row s", "ours s", "pyinfra s")
    return table((*head, "ours / ssh", "ours / pyinfra"), lines)


def deploy_table(deploys: Sequence[Deploy]) -> str:
    """Return how long it took to provision fresh Pis."""
    lines = [(str(pis), f"{seconds:.0f}", f"{seconds / pis:.0f}") for pis, seconds in deploys]
    return table(("fresh Pis at once", "s", "s per Pi"), lines)


def _seconds(work: str, count: int, way: str) -> Figure:
    return Figure(f"{work}-{count}", way, "seconds")


def _show(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
