"""smart-meter-restart: when a Pi restarts for an update, and when it does not."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.template import trust_as_template
from tests.unit.roles.looks import answer
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import load, templar
from tools.generate.templates import load_plugins, render

PROGRAM = REPOSITORY / "templates/usr/local/sbin/smart-meter-restart.j2"


class Machine:
    """The program with everything that it asks in a temporary folder."""

    def __init__(self, folder: Path, days: int) -> None:
        load_plugins()
        self.folder = folder
        text = render(PROGRAM, __appliance_restart_days=days)
        for place in ("/run/reboot-required", "/run/smart-meter-claim", "/opt/smart-meter/current/bin/"):
            assert place in text
        for place in ("/run/", "/var/lib/", "/opt/smart-meter/current/bin/"):
            (folder / place.strip("/")).mkdir(parents=True, exist_ok=True)
            text = text.replace(place, f"{folder}{place}")
        self.path = folder / "restart"
        self.path.write_text(text)
        self.program("opt/smart-meter/current/bin/smart-meter", "echo 'all good'")
        self.updating(False)
        self.due(hours=1)

    def program(self, path: str, commands: str) -> None:
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{commands}\n")
        file.chmod(0o755)

    def updating(self, active: bool) -> None:
        check = f'[ "$1" = is-active ] && exit {0 if active else 3}'
        self.program("bin/systemctl", f'{check}; echo "$*" >> {self.folder}/calls')

    def due(self, hours: float) -> None:
        flag = self.folder / "run/reboot-required"
        flag.touch()
        os.utime(flag, (0, time.time() - hours * 3600))

    def run(self) -> str:
        """Return what it prints, and check that it restarts only if it reports that."""
        done = subprocess.run(
            ["/bin/sh", str(self.path)],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin"},
        )
        calls = self.folder / "calls"
        restarted = calls.exists() and calls.read_text() == "reboot\n"
        assert restarted == ("restarting" in done.stdout), done
        return done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, days=0)


def test_an_update_that_asks_for_it_restarts_a_good_pi(machine: Machine) -> None:
    assert machine.run() == "restarting, as an update asks for\n"


def test_without_one_nothing_happens(machine: Machine) -> None:
    (machine.folder / "run/reboot-required").unlink()
    assert machine.run() == ""


def test_a_bad_check_puts_it_off_and_is_named(machine: Machine) -> None:
    machine.program(
        "opt/smart-meter/current/bin/smart-meter", "echo 'ok    a'; echo 'BAD   port 502  closed'; exit 1"
    )
    assert machine.run() == "a restart is due, and put off: the doctor finds it bad: BAD   port 502  closed\n"


def test_a_pi_without_a_doctor_is_not_restarted(machine: Machine) -> None:
    (machine.folder / "opt/smart-meter/current/bin/smart-meter").unlink()
    assert "put off: the doctor finds it bad" in machine.run()


def test_while_packages_are_installed_it_is_put_off(machine: Machine) -> None:
    machine.updating(True)
    assert machine.run() == "a restart is due, and put off: packages are being updated\n"


def test_while_a_change_is_not_confirmed_it_is_put_off(machine: Machine) -> None:
    change = machine.folder / "var/lib/smart-meter-guard/network"
    change.mkdir(parents=True)
    (change / "paths").touch()
    assert machine.run() == "a restart is due, and put off: a change is not confirmed yet\n"


@pytest.mark.parametrize(("until", "shown"), [(10**9, "put off: a run of the controller"), (1, "restarting")])
def test_while_a_run_has_claimed_the_pi_it_is_put_off(machine: Machine, until: int, shown: str) -> None:
    (machine.folder / "run/smart-meter-claim").write_text(f"{until}\nlaptop 7\n")
    assert shown in machine.run()


def test_the_others_of_a_site_restart_a_day_after_the_first(tmp_path: Path) -> None:
    machine = Machine(tmp_path, days=1)
    machine.due(hours=23)
    assert "this Pi restarts 1 day after the site's first" in machine.run()
    machine.due(hours=25)
    assert machine.run() == "restarting, as an update asks for\n"


@pytest.mark.parametrize(("host", "days"), [("north-1", 0), ("north-2", 1), ("south-1", 0), ("single", 0)])
def test_the_first_pi_of_each_site_is_the_first(host: str, days: int) -> None:
    sites = {"north-1": "north", "north-2": "north", "south-1": "south", "single": ""}
    internal = load(REPOSITORY / "roles/appliance/vars/main.yml")
    now = templar(
        inventory_hostname=host,
        groups={"smart_meters": list(sites)},
        hostvars={name: {"preflight_site": site} for name, site in sites.items()},
    )
    assert now.template(internal["__appliance_restart_days"]) == days


@pytest.mark.parametrize(
    ("window", "timer", "expected"),
    [
        ("", ["", ""], []),
        ("", ["active", "enabled"], ["Restart | Disable the window", "Live | Stop the window for restarts"]),
        (
            "03:30",
            ["", ""],
            [
                "Restart | Enable the window",
                "Live | Start the window for restarts",
            ],
        ),
    ],
)
def test_without_a_window_there_is_no_timer(window: str, timer: list[str], expected: list[str]) -> None:
    internal = load(REPOSITORY / "roles/appliance/vars/main.yml")
    files: dict[str, Any] = dict.fromkeys(internal["__appliance_restart_files"])
    look = {**answer(), "files": {**files, "/etc/cloud/cloud.cfg.d": None}}
    look["units"] = {"smart-meter-restart.timer": timer}
    now = templar(
        preflight_look=look, appliance_unattended_reboot_time=window, __appliance_differs=list(files)
    )
    written = [
        path for path in now.template(trust_as_template("{{ __appliance_to_write }}")) if "restart" in path
    ]
    assert set(written) == (set(files) if window else set())
    tasks = load(REPOSITORY / "roles/appliance/tasks/restart.yml")
    live = load(REPOSITORY / "roles/appliance/tasks/live.yml")
    tasks += [task for task in live if "for restarts" in task["name"]]
    assert [task["name"] for task in tasks if now.evaluate_conditional(task["when"])] == expected
