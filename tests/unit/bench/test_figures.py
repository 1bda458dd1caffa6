"""Medians, ratios and verdicts."""

from __future__ import annotations

import pytest
from bench.figures import Figure, Figures, Goal, Record, Verdict

OURS = Figure("fc03-100", "ours", "rate")
PEER = Figure("fc03-100", "libmodbus", "rate")


def figures(ours: list[float], peer: list[float]) -> Figures:
    return Figures(
        Record("fc03-100", server, number, {"rate": value})
        for server, values in (("ours", ours), ("libmodbus", peer))
        for number, value in enumerate(values, 1)
    )


def test_a_ratio_is_paired_by_round_so_that_a_slow_hour_does_not_count() -> None:
    # The medians' ratio would be 2: the third round was slow for both.
    found = figures(ours=[100, 200, 30], peer=[100, 50, 10])

    assert found.median(OURS) == 100
    assert found.ratios(OURS, PEER) == [1, 4, 3]
    assert found.ratio(OURS, PEER) == 3


def test_a_round_without_the_other_server_gives_no_ratio() -> None:
    found = figures(ours=[100, 200, 300], peer=[50])

    assert found.ratios(OURS, PEER) == [2]


def test_a_peer_that_answered_nothing_gives_no_ratio() -> None:
    assert figures(ours=[100], peer=[0]).ratio(OURS, PEER) is None


def test_what_was_not_measured_has_no_median_total_or_verdict() -> None:
    found = Figures([])

    assert found.median(OURS) is None
    assert found.total(OURS) is None
    assert found.judge(Goal("faster", OURS, at_least=True, bound=1, to=PEER)) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("at_least", "bound", "verdict"),
    [
        (True, 2.0, Verdict.REACHED),
        (True, 2.01, Verdict.MISSED),
        (False, 2.0, Verdict.REACHED),
        (False, 1.99, Verdict.MISSED),
    ],
)
def test_a_goal_is_judged_by_the_median_of_the_rounds(at_least: bool, bound: float, verdict: Verdict) -> None:
    found = figures(ours=[100, 200, 900], peer=[100, 100, 100])

    assert found.judge(Goal("faster", OURS, at_least=at_least, bound=bound, to=PEER)) is verdict


def test_a_goal_for_losses_is_judged_by_the_worst_round() -> None:
    found = figures(ours=[0, 0, 1], peer=[])
    goal = Goal("lost", OURS, at_least=False, bound=0, worst=True)

    assert found.value(goal) == 1
    assert found.judge(goal) is Verdict.MISSED


def test_the_worst_of_what_should_be_high_is_the_lowest() -> None:
    goal = Goal("rate", OURS, at_least=True, bound=100, worst=True)

    assert figures(ours=[300, 99, 200], peer=[]).value(goal) == 99


def test_a_goal_shows_its_bound_as_it_shows_what_was_found() -> None:
    assert Goal("faster", OURS, at_least=True, bound=1, to=PEER).text() == "≥ 1.00"
    assert Goal("slowest", OURS, at_least=False, bound=100_000, unit="µs").text() == "≤ 100,000 µs"
