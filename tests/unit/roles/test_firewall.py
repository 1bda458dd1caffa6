"""The role firewall: its rules, the script that changes them, and which tasks run."""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.template import trust_as_template
from roles.firewall.filter_plugins.firewall import script
from tests.unit.roles.looks import answer
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import load, tasks_of, templar, that_would_be_written, that_would_run

PING = "/etc/systemd/system/smart-meter-ping.service"
SITE: dict[str, Any] = {
    "role_path": str(REPOSITORY / "roles/firewall"),
    "ansible_managed": "By a test",
    "inventory_hostname": "pi-north",
    "network_field_address": "192.168.1.100/24",
    "network_control_address": "192.168.2.100/24",
    "concentrator_port": 502,
}
FIELD, CONTROL = "from 192.168.1.0/24 to 192.168.1.100", "from 192.168.2.0/24 to 192.168.2.100"
WANTED = [
    f"ufw allow in on wlan0 {FIELD} port 502 proto tcp comment 'Modbus TCP from the field zone'",
    f"ufw allow in on eth0 {CONTROL} port 502 proto tcp comment 'Modbus TCP from the control zone'",
    f"ufw allow in on eth0 {CONTROL} port 22 proto tcp comment 'SSH from 192.168.2.0/24'",
]
POLICIES = ['DEFAULT_INPUT_POLICY="DROP"', 'DEFAULT_OUTPUT_POLICY="ACCEPT"', 'DEFAULT_FORWARD_POLICY="DROP"']
UNITS = {
    "smart-meter-ping.service": ["active", "enabled"],
    "avahi-daemon.service": ["", ""],
    "avahi-daemon.socket": ["", ""],
    "ufw.service": ["active", "enabled"],
    "smart-meter-guard-firewall.timer": ["inactive", ""],
    "smart-meter-guard@firewall.timer": ["inactive", ""],
}
GOOD = {"installed": True, "enabled": True, "active": True, "added": WANTED, "defaults": POLICIES}


@cache
def ping_unit() -> str:
    """Return the text of the unit that limits ping."""
    lookup = "{{ lookup('ansible.builtin.template', __firewall_templates ~ '" + PING + ".j2') }}"
    return str(templar(**SITE).template(trust_as_template(lookup)))


def look(units: dict[str, list[str]] | None = None, **ufw: Any) -> dict[str, Any]:
    digest = hashlib.sha256(ping_unit().encode()).hexdigest()
    found = answer({"packages": ["ufw"], "files": {PING: [digest, "0644", "root", "root"]}})
    return {**found, "units": {**UNITS, **(units or {})}, "ufw": {**GOOD, **ufw}}


def of_live(found: dict[str, Any], *, check: bool = False) -> list[str]:
    """Return the tasks of live.yml that would run."""
    now = templar(**SITE, preflight_look=found, ansible_check_mode=check, __firewall_differs=[])
    return [
        task["name"]
        for task, conditions in tasks_of("firewall", "live.yml")
        if all(now.evaluate_conditional(each) for each in conditions)
    ]


def test_the_rules_name_interface_and_address() -> None:
    assert (
        templar(**SITE).template(load(REPOSITORY / "roles/firewall/vars/main.yml")["__firewall_wanted"])
        == WANTED
    )


def test_a_pi_that_has_the_rules_is_left_alone() -> None:
    assert that_would_run("firewall", look(), **SITE) == []
    assert of_live(look()) == []
    assert of_live(look(), check=True) == []


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(look(added=WANTED[1:]), id="a rule is missing"),
        pytest.param(look(added=[*WANTED, "ufw allow 8081"]), id="a rule too many"),
        pytest.param(look(defaults=POLICIES[1:]), id="a policy"),
        pytest.param(look(enabled=False), id="not enabled"),
        pytest.param(look(active=False), id="not active"),
    ],
)
def test_what_differs_is_changed_with_rollback_and_shown_in_check_mode(found: dict[str, Any]) -> None:
    assert of_live(found) == ["Live | Change the rules, with rollback"]
    assert of_live(found, check=True) == ["Live | Show which rules would change"]


@pytest.mark.parametrize("timer", ["smart-meter-guard-firewall.timer", "smart-meter-guard@firewall.timer"])
def test_a_change_that_an_interrupted_run_left_is_not_taken_for_good(timer: str) -> None:
    assert of_live(look({timer: ["active", ""]})) == ["Live | Change the rules, with rollback"]


def test_a_fresh_pi_gets_the_package_and_only_a_root_that_does_not_run_its_rules() -> None:
    units = {"ufw.service": ["", ""], "smart-meter-ping.service": ["", ""]}
    fresh = {**look(units, installed=False, enabled=False, active=False, added=[], defaults=[])}
    fresh |= {"packages": [], "files": {PING: None}}
    installed = [
        "Packages | Install missing packages",
        "Files | Start the firewall at boot",
        "Files | Limit who can ping the Pi, and mask avahi",
        "Files | Limit it from each boot on, and make systemd read its units",
    ]
    assert that_would_run("firewall", fresh, **SITE) == installed
    assert that_would_run("firewall", fresh, **SITE, ansible_check_mode=True) == installed[2:3]
    assert that_would_run("firewall", {**fresh, "systemd": False}, **SITE) == [
        *installed,
        "Files | Write the rules of a root that does not run",
    ]


def test_only_hosts_that_may_connect_may_ping() -> None:
    chains = [line for line in ping_unit().splitlines() if " -A " in line]
    assert [line.partition(" -A smart-meter-ping ")[2] for line in chains] == [
        "-i lo -j RETURN",
        "-i wlan0 -s 192.168.1.0/24 -d 192.168.1.100 -j RETURN",
        "-i eth0 -s 192.168.2.0/24 -d 192.168.2.100 -j RETURN",
        "-j DROP",
        "-i lo -j RETURN",
        "-j DROP",
    ]


UFW = """#!/bin/sh
echo "$*" >> "$ASKED"
case "$*" in
    *9999*) echo "ERROR: no" >&2; exit 1 ;;
esac
echo "Rule added"
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the arguments of each call of ufw."""
    (tmp_path / "ufw").write_text(UFW)
    (tmp_path / "ufw").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return tmp_path / "asked"


def run(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=False)


def test_the_script_admits_first_and_enables_last(asked: Path) -> None:
    present = [
        WANTED[0],
        "ufw allow in on eth0 from 192.168.2.0/24 to 192.168.2.100 port 502 proto tcp comment 'Old'",
        "ufw allow from 192.168.2.0/24 to any port 22 proto tcp comment 'SSH from 192.168.2.0/24'",
        "ufw route allow in on wlan0 out on eth0 comment 'a \"route comment\" here'",
        "ufw allow 'Two Words'",
    ]

    done = run(script(WANTED, present, ["deny incoming"], enable=True))

    assert done.returncode == 0, done.stdout
    assert asked.read_text().splitlines() == [
        "default deny incoming",
        WANTED[1].removeprefix("ufw ").replace("'", ""),
        WANTED[2].removeprefix("ufw ").replace("'", ""),
        "--force delete allow from 192.168.2.0/24 to any port 22 proto tcp",
        "--force route delete allow in on wlan0 out on eth0",
        "--force delete allow Two Words",
        "--force enable",
    ]
    assert done.stdout.splitlines()[1] == WANTED[1]


def test_the_script_stops_at_the_rule_that_fails_and_names_it(asked: Path) -> None:
    done = run(script(WANTED, ["ufw allow 9999/tcp", "ufw allow 1"], [], enable=True))

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].strip() == "ufw allow 9999/tcp: ERROR: no"
    assert asked.read_text().splitlines()[-1] == "--force delete allow 9999/tcp"


def test_a_rule_of_the_pi_can_not_add_a_command(asked: Path) -> None:
    done = run(script([], ["ufw allow 80; touch /tmp/x", "ufw allow $(id) `id` && id"], [], enable=False))

    assert done.returncode == 0
    assert asked.read_text().splitlines() == [
        "--force delete allow 80; touch /tmp/x",
        "--force delete allow $(id) `id` && id",
    ]


@pytest.mark.parametrize("line", ["ufw allow 'open", "ufw", "rm -rf /", ""])
def test_what_is_not_a_rule_is_refused(line: str) -> None:
    with pytest.raises(AnsibleFilterError, match="is not a rule of ufw"):
        script([], [line], [], enable=False)


RUNNING = {"avahi-daemon.service": ["active", "enabled"], "avahi-daemon.socket": ["active", "enabled"]}
STOPPED = {"avahi-daemon.service": ["inactive", "disabled"], "avahi-daemon.socket": ["inactive", "masked"]}
MASKED = {unit: ["inactive", "masked"] for unit in RUNNING}
ABSENT = {unit: ["", "not-found"] for unit in RUNNING}
BOTH = ["avahi-daemon.socket", "avahi-daemon.service"]


@pytest.mark.parametrize(
    ("units", "keep", "masked", "stops"),
    [
        pytest.param(RUNNING, False, BOTH, True, id="as Raspberry Pi OS has it"),
        pytest.param(STOPPED, False, ["avahi-daemon.service"], False, id="not masked"),
        pytest.param(MASKED, False, [], False, id="masked"),
        pytest.param({}, False, [], False, id="not installed"),
        pytest.param(ABSENT, False, [], False, id="not installed in a root that does not run"),
        pytest.param(RUNNING, True, [], False, id="wanted"),
    ],
)
def test_avahi_is_off_unless_it_is_wanted(
    units: dict[str, list[str]], keep: bool, masked: list[str], stops: bool
) -> None:
    now = templar(**SITE, preflight_look=look(units), firewall_avahi=keep)
    names = load(REPOSITORY / "roles/firewall/vars/main.yml")

    assert now.template(names["__firewall_to_mask"]) == masked
    written = that_would_be_written("firewall", look(units), **SITE, firewall_avahi=keep)
    records = "/var/lib/smart-meter-guard/masked"
    assert {path: record["target"] for path, record in written.items() if "target" in record} == {
        f"/etc/systemd/system/{unit}": "/dev/null" for unit in masked
    }
    assert [path for path, record in written.items() if "text" in record] == [
        f"{records}/{unit}" for unit in masked
    ]
    [task] = [task for task, _ in tasks_of("firewall", "live.yml") if task["name"] == "Live | Stop avahi"]
    assert now.evaluate_conditional(task["when"]) == stops


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (
            {"stdout_lines": ["ufw allow 1", "ufw allow 9: ERROR: no "], "msg": "non-zero"},
            "ufw allow 9: ERROR: no",
        ),
        ({"stdout_lines": [], "stderr": "sh: ufw: not found", "msg": "non-zero"}, "sh: ufw: not found"),
        ({"msg": "timed out waiting for ping module test"}, "timed out waiting for ping module test"),
        ({}, "no message"),
    ],
)
def test_the_reason_of_a_rollback_is_the_last_line(result: dict[str, Any], why: str) -> None:
    frame = next(task for task in load(REPOSITORY / "roles/firewall/tasks/change.yml") if "rescue" in task)
    names = frame["rescue"][-1]["vars"]
    now = templar(**{**SITE, **names}, ansible_failed_result=result)
    assert now.template(trust_as_template("{{ __firewall_why | trim }}")) == why


def test_the_rules_are_changed_by_what_is_there_after_a_rollback() -> None:
    """The frame reads rules, policies and state again, since `begin` may have rolled back a change."""
    frame = next(task for task in load(REPOSITORY / "roles/firewall/tasks/change.yml") if "block" in task)
    [apply] = [task for task in frame["block"] if task["name"].startswith("Change | Apply the rules")]
    lines = [
        "Added user rules (see 'ufw status' for running firewall):",
        *WANTED[1:],
        *POLICIES[1:],
        "ENABLED=no",
    ]
    now = templar(
        **{**SITE, **apply["vars"]}, preflight_look=look(added=[]), __firewall_state={"stdout_lines": lines}
    )

    argv = now.template(apply["ansible.builtin.command"]["argv"])

    assert argv[:2] == ["/bin/sh", "-ec"]
    assert [line.split(" ufw ", 1)[1] for line in argv[2].splitlines() if line.startswith("apply '")] == [
        "default deny incoming",
        WANTED[0].removeprefix("ufw "),
        "--force enable",
    ]
    assert argv[2].splitlines()[-1].startswith("smart-meter-guard rearm firewall ")
