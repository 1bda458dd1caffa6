"""The tables of `make bench-fleet`."""

from __future__ import annotations

from bench.figures import Figures, Record
from bench.fleet.report import Deploy, goals, render

SECONDS = {
    ("same-1", "floor"): [0.2, 0.25],
    ("same-1", "ours"): [1.0, 1.0],
    ("same-1", "pyinfra"): [0.8, 1.0],
    ("change-1", "floor"): [0.2, 0.2],
    ("change-1", "ours"): [0.6, 0.8],
    ("change-1", "pyinfra"): [1.2, 1.0],
}


def figures() -> Figures:
    return Figures(
        Record(row, way, number, {"seconds": seconds})
        for (row, way), rounds in SECONDS.items()
        for number, seconds in enumerate(rounds)
    )


def test_the_goals_are_judged_by_ratios_within_a_round() -> None:
    found = {goal.to.server + goal.figure.row: figures().value(goal) for goal in goals(1) if goal.to}

    assert found == {"floorsame-1": 4.5, "pyinfrasame-1": 1.125, "floorchange-1": 3.5}


def test_what_was_missed_is_told_as_such() -> None:
    lines = render(figures(), [1], [], "Said before.").splitlines()

    missed = next(line for line in lines if "nothing to change: time relative to `ssh PI true`" in line)
    reached = next(line for line in lines if "a scale changed: time relative to `ssh PI true`" in line)
    assert [cell.strip() for cell in missed.split("|")[2:-1]] == [
        "≤ 1.50",
        "4.50",
        "4.00 to 5.00",
        "not reached",
    ]
    assert reached.rstrip("| ").endswith(" reached")
    assert "not reached" not in reached


def test_seconds_stand_beside_each_other_by_work_and_number_of_pis() -> None:
    text = render(figures(), [1], [Deploy(1, 50.0), Deploy(4, 120.0)], "Said before.")

    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")
    ]
    assert ["nothing to change", "1", "0.23", "1.00", "0.90", "4.50", "1.12"] in rows
    assert ["a scale changed", "1", "0.20", "0.70", "1.10", "3.50", "0.65"] in rows
    assert ["4", "120", "30"] in rows
