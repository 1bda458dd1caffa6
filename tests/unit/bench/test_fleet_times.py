"""Where a run's time goes, by role."""

from __future__ import annotations

import pytest
from bench.fleet.times import Times, render, tasks_by_role

OUTPUT = """
PLAY RECAP *********************************************************************
pi-north                   : ok=60   changed=0    unreachable=0    failed=0

TASKS RECAP ********************************************************************
Thursday 26 November 2026  22:20:00 +0000 (0:00:00.041)       0:00:28.512 ******
===============================================================================
preflight : Look | Read the state of the Pi ----------------------------- 0.62s
network : Live | Wait - and reconnect ----------------------------------- 4.10s
network : Files | Write ------------------------------------------------- 0.02s
Show the checks --------------------------------------------------------- 0.03s
"""


def test_the_seconds_of_each_task_belong_to_its_role() -> None:
    assert tasks_by_role(OUTPUT) == {"preflight": [0.62], "network": [4.10, 0.02], "playbook": [0.03]}


def test_an_output_without_times_is_an_error() -> None:
    with pytest.raises(ValueError, match="profile_tasks is not installed"):
        tasks_by_role("PLAY RECAP")


def test_the_table_has_a_row_per_role_and_counts_the_tasks_that_asked_the_pi() -> None:
    fresh = Times("fresh", 30.0, {"preflight": [0.62], "network": [4.10, 0.02]})
    second = Times("second", 9.0, {"preflight": [0.58]})

    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in render([fresh, second]).splitlines()]

    assert rows[0] == ["role", "fresh (s)", "second (s)", "fresh (tasks)", "second (tasks)"]
    assert rows[2:] == [
        ["`preflight`", "0.6", "0.6", "1", "1"],
        ["`network`", "4.1", "0.0", "1", "0"],
        ["the whole run", "30.0", "9.0", "", ""],
    ]
