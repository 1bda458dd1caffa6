"""The activity LED: what it shows, on machines with and without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_meter.doctor.check import Level
from smart_meter.doctor.led import STATES, Led, collect, judge

TRIGGERS = "none kbd-capslock timer [pattern] heartbeat mmc0\n"


def pi(folder: Path, triggers: str = TRIGGERS, shown: str | None = "stale\n") -> Led | None:
    (folder / "ACT").mkdir()
    (folder / "ACT/trigger").write_text(triggers)
    if shown is not None:
        (folder / "shown").write_text(shown)
    (folder / "rule").write_text("")
    return collect(folder / "ACT", folder / "shown", folder / "rule")


def test_a_machine_without_the_led_has_no_check(tmp_path: Path) -> None:
    assert collect(tmp_path / "ACT", tmp_path / "shown", tmp_path / "rule") is None
    assert judge(None) is None


def test_a_pi_that_does_not_use_the_led_has_no_check() -> None:
    assert judge(Led("mmc0", "", wanted=False)) is None


def test_what_it_shows_is_in_the_report(tmp_path: Path) -> None:
    found = pi(tmp_path)

    assert found == Led("pattern", "stale", wanted=True)
    check = judge(found)
    assert check
    assert (check.level, check.found) == (Level.OK, "blinks slowly: there are no fresh values")


@pytest.mark.parametrize("shown", [None, "", "green\n", "\x1b[2J"])
def test_a_led_that_nothing_sets_is_a_warning(tmp_path: Path, shown: str | None) -> None:
    check = judge(pi(tmp_path, "none [heartbeat] mmc0\n", shown))

    assert check
    assert check.level is Level.WARNING
    assert check.found == "nothing sets it; the kernel's own trigger is 'heartbeat'"


def test_another_trigger_than_the_one_that_was_set_is_a_warning(tmp_path: Path) -> None:
    check = judge(pi(tmp_path, "none pattern [mmc0]\n", "good\n"))

    assert check
    assert check.level is Level.WARNING
    assert "'mmc0'" in check.found


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("good\n")
    (tmp_path / "shown").symlink_to(tmp_path / "other")
    found = pi(tmp_path, shown=None)

    assert found
    assert found.shown == ""


def test_each_state_has_its_own_meaning() -> None:
    assert len({meaning for _, meaning in STATES.values()}) == len(STATES)
