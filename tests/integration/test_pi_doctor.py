"""The doctor on a provisioned Pi: all good, then one thing broken at a time and mended as it says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controller import REPOSITORY
from tests.integration.pi_story import EXAMPLE, NAME, Story, fresh_pi

pytestmark = pytest.mark.pi

PROGRAM = "/opt/smart-meter/current/bin/smart-meter"
SECONDS = 20.0
# What a virtual Pi has not: a clock of its own, a card, a firmware. Its host's disk may be full.
HARDWARE = {"clock", "card's wear", "temperature", "supply voltage", "disk, /"}


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with fresh_pi("doctor") as story:
        story.controller.playbook("site.yml")
        yield story


class Told(dict[str, dict[str, str]]):
    """What the doctor told: each check by its name, and the exit code."""

    code: int

    def bad(self) -> set[str]:
        """Return what is bad or to look at, of what a virtual Pi can show."""
        return {name for name, check in self.items() if check["level"] in ("bad", "warning")} - HARDWARE


def doctor(story: Story) -> Told:
    done = story.pi.run([PROGRAM, "doctor", "--json"], check=False)
    told = Told({check["name"]: check for check in json.loads(done.stdout)["checks"]})
    told.code = done.returncode
    return told


def until(story: Story, condition: Callable[[Told], bool]) -> Told:
    """Ask until a condition holds: the service tells its state every few seconds."""
    deadline = time.monotonic() + SECONDS
    while not condition(told := doctor(story)):
        assert time.monotonic() < deadline, json.dumps(told, indent=1)
    return told


def play_both_peers(story: Story) -> None:
    assert story.write("field", *EXAMPLE).returncode == 0
    assert story.read("control") == EXAMPLE


def mend(story: Story, check: dict[str, str]) -> None:
    """Do what the doctor says, up to the first semicolon, as root."""
    command = check["mend"].split(";")[0]
    assert command.startswith("sudo "), command
    story.pi.run(["sh", "-c", command.removeprefix("sudo ")])


def test_a_provisioned_pi_with_both_peers_is_all_good(story: Story) -> None:
    play_both_peers(story)

    told = until(story, lambda told: not told.bad())

    assert told["ESP32 heard"]["level"] == told["Opta reading"]["level"] == "ok"
    assert told["field zone, wlan0"]["found"] == "up with 192.168.1.100/24"
    assert told["control zone, eth0"]["found"] == "up with 192.168.2.100/24"
    assert told["firewall, control zone"]["found"] == "502/tcp let in"
    assert told["permission for port 502"]["found"] == "owner smart-meter, mode 0500"
    assert told["configuration"]["found"] == "accepted and running"
    assert told["history"]["found"].startswith("kept, ")
    known = {name for name, check in told.items() if check["level"] != "unknown"}
    assert known | HARDWARE == set(told), "root sees all"


def test_a_user_who_may_see_less_is_told_so(story: Story) -> None:
    asked = ["setpriv", "--reuid=pi", "--regid=pi", "--init-groups", PROGRAM, "doctor"]
    done = story.pi.run(asked, check=False)
    assert done.returncode == 2
    assert "is not for this user to read" in done.stdout
    assert f"mend: sudo {PROGRAM} doctor sees it" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_stopped_service_is_bad_and_starts_by_the_mend(story: Story) -> None:
    story.pi.run(["systemctl", "stop", "smart-meter"])

    told = doctor(story)

    assert told.code == 1
    assert {"service", "port 502", "meter pv, unit 1"} <= told.bad()
    assert told["service"]["found"] == "inactive (dead)"
    assert told["port 502"]["found"] == "closed: nobody listens"
    mend(story, told["service"])
    play_both_peers(story)
    until(story, lambda told: not told.bad())


def test_an_address_that_is_gone_is_bad_and_comes_back_by_the_mend(story: Story) -> None:
    story.pi.run(["ip", "address", "del", "192.168.1.100/24", "dev", "wlan0"])

    told = doctor(story)

    assert told["field zone, wlan0"]["found"] == "up with no address"
    assert told["control zone, eth0"]["level"] == "ok"
    story.pi.run(["sh", "-c", told["field zone, wlan0"]["mend"].replace("sudo ", "")])
    assert doctor(story)["field zone, wlan0"]["level"] == "ok"


def test_a_rule_that_is_gone_is_bad_and_comes_back_by_the_mend(story: Story) -> None:
    added = story.pi.run(["ufw", "show", "added"]).stdout.splitlines()
    [rule] = [line for line in added if "in on eth0" in line and "port 502" in line]
    story.pi.run(["sh", "-c", rule.replace("ufw ", "ufw delete ", 1)])

    told = doctor(story)

    assert told["firewall, control zone"]["found"] == "no rule lets it in"
    assert told["firewall, field zone"]["level"] == "ok"
    mend(story, told["firewall, control zone"])
    assert doctor(story)["firewall, control zone"]["level"] == "ok"


def test_the_fleets_doctor_lists_what_is_off_and_asks_the_others(story: Story, tmp_path: Path) -> None:
    story.controller.hosts["pi-off"] = {"network_control_address": "192.168.2.250/24"}
    story.controller.write()
    results = tmp_path / "doctor.json"
    play_both_peers(story)
    until(story, lambda told: not told.bad())
    try:
        played = story.controller.playbook("doctor.yml", "-e", f"doctor_results={results}", check=False)
    finally:
        del story.controller.hosts["pi-off"]
        story.controller.write()

    assert played.count(NAME, "changed") == played.count("pi-off", "changed") == 0
    assert played.count(NAME, "failed") == 0, played.output
    assert played.count("pi-off", "failed") == 1, "a Pi that is off is bad"
    assert f"ok   {NAME}: " in played.output
    assert "BAD  pi-off: does not answer: " in played.output
    found = {host["name"]: host for host in json.loads(results.read_text())["hosts"]}
    assert found["pi-off"]["state"] == "off"
    assert {check["level"] for check in found[NAME]["report"]["checks"]} <= {"ok", "unknown", "warning"}

    page = tmp_path / "report.html"
    subprocess.run(
        [sys.executable, REPOSITORY / "tools/report.py", "--results", results, "--out", page], check=True
    )
    assert "✖ bad" in page.read_text()
    assert "✔ good" in page.read_text()
