"""What a Pi has to be."""

from __future__ import annotations

from typing import Any

import pytest
from roles.preflight.rules.pi import examine
from tests.unit.roles.looks import look

VALUES: dict[str, Any] = {
    "network_field_interface": "wlan0",
    "network_control_interface": "eth0",
    "preflight_disk_megabytes": 500,
    "preflight_clock_may_differ": False,
}


def release(name: str, title: str, version: str, debian: str) -> dict[str, str]:
    return {"id": name, "name": title, "version": version, "debian": debian}


def problems_of(
    changes: dict[str, Any] | None = None, *, clock: float = 0, **values: Any
) -> tuple[list[str], list[str]]:
    problems, warnings = examine(look(changes), clock, {**VALUES, **values})
    return [each.message for each in problems], warnings


def test_a_fresh_pi_is_welcome() -> None:
    assert problems_of() == ([], [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"release": release("ubuntu", "Ubuntu", "24.04", "trixie/sid")}, "runs Ubuntu 24.04; flash"),
        ({"release": release("arch", "Arch Linux", "", "")}, "runs Arch Linux; flash"),
        ({"release": release("debian", "Debian GNU/Linux", "11", "11.9")}, "runs Debian 11.9; flash"),
        (
            {"release": release("debian", "Debian GNU/Linux", "14", "14")},
            "runs Debian 14, which is not tested",
        ),
        ({"release": release("debian", "Debian GNU/Linux", "", "forky/sid")}, "runs Debian forky/sid, which"),
        ({"machine": "armv7l", "bits": 32}, "is armv7l with 32-bit programs; flash"),
        ({"bits": 32}, "is aarch64 with 32-bit programs"),
        ({"systemd": False, "init": "init"}, "was started by init, not by systemd"),
        ({"python": "3.9"}, "has Python 3.9; 3.11 or later is needed"),
        ({"failed": ["ufw show added: it took longer than 10 s"]}, "longer than 10 s; run again"),
    ],
)
def test_what_can_be_no_concentrator_is_reported_with_the_fix(changes: dict[str, Any], words: str) -> None:
    [problem], _ = problems_of(changes)
    assert words in problem


def test_bookworm_is_warned_of_and_let_pass() -> None:
    problems, [warning] = problems_of({"release.version": "12", "release.debian": "12.12"})
    assert problems == []
    assert warning.startswith("runs Debian 12 (bookworm)")


def test_a_missing_interface_is_reported_with_those_that_are_there() -> None:
    [problem], _ = examine(look({"interfaces": ["lo", "wlan0", "end0"]}), 0, VALUES)
    assert problem.variable == "network_control_interface"
    assert problem.message == "this Pi has no interface eth0; give one that it has: end0, wlan0"


@pytest.mark.parametrize("state", ["inactive", ""])
def test_networkmanager_has_to_run(state: str) -> None:
    [problem], _ = problems_of({"network_manager": state})
    assert problem.startswith(f"NetworkManager is {state or 'not installed'}")
    assert "sudo systemctl enable --now NetworkManager" in problem


def test_the_card_has_to_have_room() -> None:
    [problem], _ = problems_of({"free_bytes": 499_999_999})
    assert problem.startswith("has 499 MB free on /, and 500 MB are needed; free some")
    assert problems_of({"free_bytes": 500_000_000}) == ([], [])


def test_an_image_needs_room_for_a_release_only() -> None:
    image = {"overlay": False, "volatile": False, "why": "", "ours": True}
    [problem], _ = problems_of({"free_bytes": 99_999_999, "root": image})
    assert problem.startswith("has 99 MB free on its state partition, and 100 MB are needed; see what takes")
    assert problems_of({"free_bytes": 100_000_000, "root": image}) == ([], [])


def test_sudo_has_to_lead_to_root() -> None:
    [problem], _ = problems_of({"user_id": 1000})
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
    changes = {"machine": "armv7l", "interfaces": [], "network_manager": "", "user_id": 1000}
    problems, _ = problems_of(changes, clock=1e6)
    assert len(problems) == 6


def test_what_a_busy_pi_did_not_answer_in_time_is_not_taken_for_missing() -> None:
    failure = "systemctl show -p Id,ActiveState: it took longer than 30 s"

    problems, _ = problems_of({"failed": [failure], "network_manager": "", "interfaces": []})

    assert problems == [f"{failure}; run again, or find out why"]
