"""What a Pi has to be."""

from __future__ import annotations

from typing import Any

import pytest
from roles.preflight.rules.pi import Found, examine

FACTS: dict[str, Any] = {
    "distribution": "Debian",
    "distribution_version": "13.1",
    "distribution_major_version": "13",
    "architecture": "aarch64",
    "userspace_bits": "64",
    "service_mgr": "systemd",
    "interfaces": ["lo", "eth0", "wlan0"],
    "python": {"version": {"major": 3, "minor": 13}},
}
VALUES: dict[str, Any] = {
    "network_field_interface": "wlan0",
    "network_control_interface": "eth0",
    "preflight_disk_megabytes": 500,
    "preflight_clock_may_differ": False,
}


def problems_of(
    facts: dict[str, Any] | None = None,
    *,
    clock: float = 0,
    manager: str = "active",
    user: int = 0,
    free: int = 2_000_000_000,
    **changes: Any,
) -> tuple[list[str], list[str]]:
    found = Found({**FACTS, **(facts or {})}, clock, user, free, manager)
    problems, warnings = examine(found, {**VALUES, **changes})
    return [each.message for each in problems], warnings


def test_a_fresh_pi_is_welcome() -> None:
    assert problems_of() == ([], [])


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"distribution": "Ubuntu", "distribution_version": "24.04", "distribution_major_version": "24"},
            "Ubuntu 24.04;",
        ),
        ({"distribution_version": "11.9", "distribution_major_version": "11"}, "runs Debian 11.9; flash"),
        ({"distribution_version": "14", "distribution_major_version": "14"}, "is not tested"),
        ({"distribution_version": "sid", "distribution_major_version": "sid"}, "runs Debian sid, which"),
        (
            {"architecture": "armv7l", "userspace_bits": "32"},
            "is armv7l with 32-bit programs; flash",
        ),
        ({"userspace_bits": "32"}, "is aarch64 with 32-bit programs"),
        ({"service_mgr": "sysvinit"}, "was started by sysvinit, not by systemd"),
        ({"python": {"version": {"major": 3, "minor": 9}}}, "has Python 3.9; 3.11 or later is needed"),
    ],
)
def test_what_can_be_no_concentrator_is_reported_with_the_fix(facts: dict[str, Any], words: str) -> None:
    [problem], _ = problems_of(facts)
    assert words in problem


def test_bookworm_is_warned_of_and_let_pass() -> None:
    problems, [warning] = problems_of({"distribution_version": "12.12", "distribution_major_version": "12"})
    assert problems == []
    assert warning.startswith("runs Debian 12 (bookworm)")


def test_a_missing_interface_is_reported_with_those_that_are_there() -> None:
    found = Found({**FACTS, "interfaces": ["lo", "wlan0", "end0"]}, 0, 0, 10**9, "active")
    [problem], _ = examine(found, VALUES)
    assert problem.variable == "network_control_interface"
    assert problem.message == "this Pi has no interface eth0; give one that it has: end0, wlan0"


@pytest.mark.parametrize("state", ["inactive", ""])
def test_networkmanager_has_to_run(state: str) -> None:
    [problem], _ = problems_of(manager=state)
    assert problem.startswith(f"NetworkManager is {state or 'not installed'}")
    assert "sudo systemctl enable --now NetworkManager" in problem


def test_the_card_has_to_have_room() -> None:
    [problem], _ = problems_of(free=499_999_999)
    assert problem.startswith("has 499 MB free on /, and 500 MB are needed; free some")
    assert problems_of(free=500_000_000) == ([], [])


def test_sudo_has_to_lead_to_root() -> None:
    [problem], _ = problems_of(user=1000)
    assert problem.startswith("commands run as user 1000 and not as root")


@pytest.mark.parametrize("seconds", [0, 299, -299])
def test_a_clock_may_be_some_minutes_off(seconds: float) -> None:
    assert problems_of(clock=seconds) == ([], [])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(301, "5 minutes ahead of"), (-7200, "2 hours behind"), (86399, "24 hours ahead of")],
)
def test_a_clock_hours_off_is_warned_of_with_the_reason(seconds: float, words: str) -> None:
    problems, [warning] = problems_of(clock=seconds)
    assert problems == []
    assert warning.startswith(f"its clock is {words} the controller's; TLS and package signatures")


def test_a_clock_days_off_is_refused_unless_it_may() -> None:
    [problem], _ = problems_of(clock=-400 * 86400)
    assert problem.startswith("its clock is 400 days behind the controller's, and TLS")
    assert problem.endswith("or set preflight_clock_may_differ: true")
    problems, warnings = problems_of(clock=-400 * 86400, preflight_clock_may_differ=True)
    assert (len(problems), len(warnings)) == (0, 1)


def test_all_of_it_is_reported_at_once() -> None:
    problems, _ = problems_of({"architecture": "armv7l", "interfaces": []}, manager="", user=1000, clock=1e6)
    assert len(problems) == 6
