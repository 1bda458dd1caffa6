"""A task that takes long is shown while it runs, with its hosts."""

from __future__ import annotations

from roles.preflight.rules.waits import Waits


def shown(waits: Waits, until: int) -> dict[int, list[str]]:
    """Return what is shown in which second."""
    return {now: lines for now in range(until + 1) if (lines := waits.due(float(now)))}


def test_a_task_is_shown_less_and_less_often_and_then_every_minute() -> None:
    waits = Waits()
    waits.start("pi-north", "1", "network : Reconnect", 0.0)

    found = shown(waits, 200)

    assert list(found) == [5, 15, 30, 60, 120, 180]
    assert found[15] == ["still running after 15 s: network : Reconnect: pi-north"]


def test_only_the_hosts_that_still_run_it_are_named() -> None:
    waits = Waits()
    for host in ("pi-a", "pi-b", "pi-c"):
        waits.start(host, "1", "Install", 0.0)
    waits.end("pi-b")

    assert waits.due(6.0) == ["still running after 6 s: Install: pi-a, pi-c"]


def test_of_many_hosts_only_some_are_named() -> None:
    waits = Waits()
    for number in range(20):
        waits.start(f"pi-{number}", "1", "Install", 0.0)

    [line] = waits.due(5.0)

    assert line.endswith("pi-0, pi-1, pi-2, pi-3, pi-4 and 15 more")


def test_a_finished_task_is_not_shown() -> None:
    waits = Waits()
    waits.start("pi-north", "1", "Install", 0.0)
    waits.end("pi-north")
    assert shown(waits, 100) == {}


def test_the_next_task_of_a_host_ends_the_one_before() -> None:
    """Not every kind of task reports its end."""
    waits = Waits()
    waits.start("pi-north", "1", "Include", 0.0)
    waits.start("pi-north", "2", "Install", 4.0)

    assert shown(waits, 9) == {9: ["still running after 5 s: Install: pi-north"]}


def test_two_tasks_of_one_name_are_two() -> None:
    waits = Waits()
    waits.start("pi-a", "1", "Install", 0.0)
    waits.start("pi-b", "2", "Install", 3.0)

    assert waits.due(5.0) == ["still running after 5 s: Install: pi-a"]
    assert waits.due(8.0) == ["still running after 5 s: Install: pi-b"]


def test_a_look_that_comes_late_shows_a_task_once() -> None:
    waits = Waits()
    waits.start("pi-north", "1", "Install", 0.0)

    assert waits.due(70.0) == ["still running after 70 s: Install: pi-north"]
    assert waits.due(71.0) == []


def test_after_clear_nothing_is_shown() -> None:
    waits = Waits()
    waits.start("pi-north", "1", "Install", 0.0)
    waits.clear()
    assert shown(waits, 100) == {}
