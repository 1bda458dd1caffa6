"""The tables."""

from __future__ import annotations

from bench.figures import Figure, Figures, Goal, Record
from bench.report import (
    bad_frames_table,
    beside_table,
    footprint_table,
    goal_table,
    render,
    table,
    zones_table,
)

ROWS = {"fc03-100": "FC03, 100 connections", "memory": "Memory"}
SERVERS = {"ours": "smart-meter", "libmodbus": "libmodbus 3.1.6"}


def load(server: str, number: int, rate: float, lost: float = 0) -> Record:
    values = {"rate": rate, "p50": 50, "p99": 99, "p99_9": 999, "lost": lost, "wrong": 0, "cpu": 6.04}
    return Record("fc03-100", server, number, values)


def test_a_tables_columns_align() -> None:
    assert table(("a", "long"), [("wide", "b")]) == "| a    | long |\n| ---- | ---- |\n| wide | b    |"


def test_a_table_without_lines_is_left_out() -> None:
    text = render(Figures([]), [], ROWS, SERVERS, "A machine.")

    assert text == "# Benchmark\n\nA machine.\n"


def test_a_load_is_shown_with_medians_ratios_and_the_sum_of_losses() -> None:
    found = Figures(
        [load("ours", 1, 1000, lost=1), load("ours", 2, 3000, lost=2), load("libmodbus", 1, 2000)]
    )

    lines = render(found, [], ROWS, SERVERS, "").splitlines()

    [ours] = [cells(line) for line in lines if "smart-meter" in line]
    assert ours == [
        *("FC03, 100 connections", "smart-meter", "2,000", "0.50", "-", "6.0"),
        *("50", "99", "999", "3", "0"),
    ]


def test_a_goal_is_shown_with_its_bound_its_spread_and_its_verdict() -> None:
    goal = Goal(
        "faster",
        Figure("fc03-100", "ours", "rate"),
        at_least=True,
        bound=1,
        to=Figure("fc03-100", "libmodbus", "rate"),
    )
    found = Figures([load("ours", 1, 900), load("libmodbus", 1, 1000)])

    assert cells(goal_table(found, [goal]).splitlines()[-1]) == [
        *("faster", "≥ 1.00", "0.90", "0.90 to 0.90", "not reached")
    ]


def test_a_goal_that_was_not_measured_is_not_shown() -> None:
    assert goal_table(Figures([]), [Goal("x", Figure("a", "b", "c"), at_least=True, bound=1)]) == ""


def test_readers_beside_writers_are_shown_against_themselves_alone() -> None:
    values = {
        "rate_alone": 90_000,
        "rate_beside": 60_000,
        "p99_alone": 150,
        "p99_beside": 240,
        "rate_full": 40_000,
        "rate_writers": 20_000,
    }

    shown = beside_table(Figures([Record("beside-writes", "ours", 1, values)]))

    assert cells(shown.splitlines()[-1]) == [
        *("10 connections, as fast as answered", "90,000", "60,000", "40,000", "20,000", "150", "240", "1.60")
    ]


def test_control_zone_reads_are_shown_with_fewer_and_more_field_writes() -> None:
    values = {
        **{"p50_alone": 50, "p99_alone": 200, "p99_9_alone": 900},
        **{"p50_paced": 60, "p99_paced": 300, "p99_9_paced": 1900, "writes_paced": 2000},
        **{"p50_fast": 70, "p99_fast": 500, "p99_9_fast": 2900, "writes_fast": 75_000},
    }

    shown = zones_table(Figures([Record("zones", "ours", 1, values)]), SERVERS)

    assert [cells(line)[1:] for line in shown.splitlines()[2:]] == [
        ["none", "-", "50", "200", "900", "1.00"],
        ["2,000 writes/s", "2,000", "60", "300", "1,900", "1.50"],
        ["as fast as answered", "75,000", "70", "500", "2,900", "2.50"],
    ]


def test_bad_frames_are_shown_by_what_a_reader_notices_of_them() -> None:
    values = {"p99_alone": 200, "p99_bad": 997_650, "max_bad": 998_000, "lost": 3, "frames": 350}

    shown = bad_frames_table(Figures([Record("bad-frames", "libmodbus", 1, values)]), SERVERS)

    assert cells(shown.splitlines()[-1]) == ["libmodbus 3.1.6", "200", "997,650", "998,000", "3", "350"]


def test_start_and_memory_share_a_line_and_either_may_be_missing() -> None:
    shown = footprint_table(Figures([Record("start", "ours", 1, {"start": 45.67})]), SERVERS)

    assert cells(shown.splitlines()[-1]) == ["smart-meter", "45.7", "-"]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
