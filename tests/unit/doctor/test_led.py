"""The activity LED: what it shows, on machines with and without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_meter.doctor.check import Level
from smart_meter.doctor.led import STATES, Led, collect, judge


def pi(folder: Path, trigger: str, *, pattern: str | None = None, brightness: str = "0") -> Led | None:
    (folder / "ACT").mkdir()
    (folder / "ACT/trigger").write_text(f"none kbd-capslock [{trigger}] mmc0\n")
    (folder / "ACT/brightness").write_text(f"{brightness}\n")
    if pattern is not None:
        (folder / "ACT/pattern").write_text(f"{pattern}\n")
    (folder / "rule").write_text("")
    return collect(folder / "ACT", folder / "rule")


def test_a_machine_without_the_led_has_no_check(tmp_path: Path) -> None:
    (tmp_path / "rule").write_text("")
    assert collect(tmp_path / "ACT", tmp_path / "rule") is None


def test_a_pi_that_does_not_use_the_led_has_no_check(tmp_path: Path) -> None:
    assert pi(tmp_path, "mmc0")
    (tmp_path / "rule").unlink()
    assert collect(tmp_path / "ACT", tmp_path / "rule") is None


def test_what_it_shows_is_read_from_the_led(tmp_path: Path) -> None:
    found = pi(tmp_path, "pattern", pattern="1 1000 1 0 0 300 0 0 1 200 1 0 0 1000 0 0", brightness="1")

    assert found == Led("pattern", lit=True, blinks=(1000, 300, 200, 1000))
    check = judge(found, running=True)
    assert (check.level, check.found) == (Level.OK, STATES[1000, 300, 200, 1000])


def test_a_steady_light_is_good_news(tmp_path: Path) -> None:
    found = pi(tmp_path, "none", brightness="255")

    assert found
    assert judge(found, running=True).found == STATES[()]


@pytest.mark.parametrize(
    "found",
    [
        Led("none", lit=False, blinks=()),
        Led("heartbeat", lit=True, blinks=()),
        Led("pattern", lit=True, blinks=()),
        Led("pattern", lit=True, blinks=(100, 200)),
        Led("timer", lit=True, blinks=(200, 200)),
    ],
)
def test_what_the_service_does_not_set_is_a_warning(found: Led) -> None:
    check = judge(found, running=True)

    assert check.level is Level.WARNING
    assert repr(found.trigger) in check.found


@pytest.mark.parametrize("found", [Led("none", lit=True, blinks=()), Led("heartbeat", lit=True, blinks=())])
def test_a_light_that_nobody_keeps_up_to_date_is_a_warning(found: Led) -> None:
    check = judge(found, running=False)

    assert (check.level, check.found) == (Level.WARNING, "smart-meter-led.service does not run")


@pytest.mark.parametrize("pattern", ["", "1", "x y z", "1 \u0663 1 0", "-1 -5 -1 0"])
def test_any_pattern_can_be_read(tmp_path: Path, pattern: str) -> None:
    found = pi(tmp_path, "pattern", pattern=pattern)

    assert found
    assert judge(found, running=True).level is Level.WARNING
