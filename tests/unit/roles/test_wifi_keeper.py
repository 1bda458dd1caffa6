"""smart-meter-wifi: when it activates the field zone's profile, and when it disturbs nobody."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.unit.roles.site import REPOSITORY

SCRIPT = REPOSITORY / "tests/unit/roles/golden/default/usr/local/sbin/smart-meter-wifi"
UUID = "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03"
OTHER = "0d3b71e1-15f2-7a57-98d5-0d43e0a1e2aa"


class Keeper:
    """The script in a folder that has what it reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("etc/NetworkManager/system-connections/smart-meter-field.nmconnection", f"uuid={UUID}\n")
        self.write("sys/class/net/wlan0/ifindex", "3\n")
        self.link(up=True, uuid=UUID)
        (folder / "bin").mkdir()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def link(self, *, up: bool, uuid: str) -> None:
        """Set whether the link is up, and which profile runs on it."""
        self.write("sys/class/net/wlan0/operstate", "up\n" if up else "dormant\n")
        self.write("run/NetworkManager/devices/3", f"[device]\nmanaged=true\nconnection-uuid={uuid}\n")

    def calls(self, turns: int, shown: str) -> list[str]:
        """Run it for some turns of its loop, and return its calls of nmcli."""
        calls = self.folder / "calls"
        calls.write_text("")
        programs = {
            "sleep": f'echo turn >> {calls}; [ "$(grep -c turn {calls})" -le {turns} ]',
            "nmcli": f"echo \"$*\" >> {calls}; printf '{shown}'",
        }
        for name, commands in programs.items():
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{commands}\n")
            (self.folder / "bin" / name).chmod(0o755)
        script = SCRIPT.read_text(encoding="utf-8")
        for place in ("/sys/class", "/run/NetworkManager", "/etc/NetworkManager"):
            script = script.replace(place, f"{self.folder}{place}")
        environment = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            timeout=20,
        )
        assert done.stderr == ""
        return [call for call in calls.read_text().splitlines() if call != "turn"]


UP = f"--wait 0 connection up uuid {UUID}"


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path)


def test_while_our_profile_runs_no_program_is_started(keeper: Keeper) -> None:
    assert keeper.calls(5, "") == []


@pytest.mark.parametrize("state", ["30 (disconnected)", "120 (connection failed)"])
def test_a_profile_that_networkmanager_has_given_up_is_activated(keeper: Keeper, state: str) -> None:
    keeper.link(up=False, uuid="")

    calls = keeper.calls(3, f"{state}\\n\\n")

    assert calls.count(UP) == 1
    assert calls.index(UP) == 2


def test_a_profile_of_others_does_not_keep_the_interface(keeper: Keeper) -> None:
    keeper.link(up=True, uuid=OTHER)

    assert UP in keeper.calls(2, f"100 (connected)\\n{OTHER}\\n")


def test_networkmanager_is_not_disturbed_while_it_tries(keeper: Keeper) -> None:
    keeper.link(up=False, uuid="")

    assert UP not in keeper.calls(6, f"50 (connecting)\\n{OTHER}\\n")


def test_a_profile_that_runs_is_not_interrupted_if_only_the_file_does_not_show_it(keeper: Keeper) -> None:
    keeper.write("run/NetworkManager/devices/3", "[device]\n")

    assert UP not in keeper.calls(6, f"100 (connected)\\n{UUID}\\n")


def test_without_a_profile_there_is_nothing_to_do(keeper: Keeper) -> None:
    keeper.link(up=False, uuid="")
    keeper.write("etc/NetworkManager/system-connections/smart-meter-field.nmconnection", "")

    assert keeper.calls(5, "30 (disconnected)\\n\\n") == []
