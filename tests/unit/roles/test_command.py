"""The command that people type on a Pi: a link to the program of the current release."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.unit.roles.looks import answer
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import STATE, load, tasks_of, that_would_run

PROGRAM = "/opt/smart-meter/current/bin/smart-meter"
PLACE = "/usr/local/bin/smart-meter"
LINKS, REPORTS = (
    "Command | Link it where shells and sudo find commands",
    "Command | Report what is in its place",
)
SCRIPT = load(REPOSITORY / "roles/concentrator/vars/main.yml")["__concentrator_unit_script"]


def found(place: Path) -> str:
    """Return what the Pi prints of the command if it is at this path."""
    script = SCRIPT.replace(PLACE, str(place))
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())["Command"]


def test_a_link_is_found_with_its_target(tmp_path: Path) -> None:
    place = tmp_path / "smart-meter"
    assert found(place) == ""
    place.symlink_to(PROGRAM)
    assert found(place) == PROGRAM
    place.unlink()
    place.symlink_to("two\nlines")
    assert found(place) == "two"


def test_anything_else_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "smart-meter").write_text("#!/bin/sh\n")
    assert found(tmp_path / "smart-meter") == "in the way"
    assert found(tmp_path) == "in the way"
    (tmp_path / "by-pipx").symlink_to(tmp_path / "smart-meter")
    assert found(tmp_path / "by-pipx") == "in the way"


def run_with(command: str) -> list[str]:
    """Return which of the tasks run if the Pi prints this."""
    state: dict[str, Any] = {"__concentrator_unit": {"Command": command}}
    return that_would_run("concentrator", answer(), file="command.yml", **STATE, **state)


@pytest.mark.parametrize(
    ("command", "tasks"),
    [
        (PROGRAM, []),
        ("", [LINKS]),
        # It leads nowhere.
        ("/home/pi/.venv/bin/smart-meter", [LINKS]),
        # Another one's program is neither replaced nor kept secret.
        ("in the way", [REPORTS]),
    ],
)
def test_the_link_is_made_once_and_replaces_no_program(command: str, tasks: list[str]) -> None:
    assert run_with(command) == tasks


@pytest.mark.parametrize("file", ["files.yml", "main.yml"])
def test_the_link_is_part_of_both_ways_and_comes_after_the_release(file: str) -> None:
    names = [task["name"] for task, _ in tasks_of("concentrator", file)]
    assert names.index(
        "Written | Write zones and meters, the units, and the first release's link"
    ) < names.index(LINKS)


def test_it_leads_through_the_current_release() -> None:
    [arguments] = [
        task["ansible.builtin.file"]
        for task, _ in tasks_of("concentrator", "command.yml")
        if "ansible.builtin.file" in task
    ]
    internal = load(REPOSITORY / "roles/concentrator/vars/main.yml")
    assert arguments["src"].replace("{{ __concentrator_root }}", internal["__concentrator_root"]) == PROGRAM
    assert internal["__concentrator_command"] == PLACE
