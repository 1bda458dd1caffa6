"""The filter `doctor_verdict`: what a doctor's answer decides in verify.yml, and what is left open."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbooks.filter_plugins.acceptance import OPERATION, TOPICS, FilterModule, verdict
from roles.preflight.rules.report import FIX_KEYS
from tests.unit.roles.site import REPOSITORY, Site

from smart_meter.cli.commands.doctor import LAYOUT, record
from smart_meter.doctor import examine, kernel
from smart_meter.doctor.check import Check, Level
from smart_meter.doctor.service import judge_unit

PLAYBOOK = REPOSITORY / "playbooks/verify.yml"
NAME = "pi-north"
JUDGED = [
    "service",
    "start at boot",
    "unit file",
    "configuration",
    "release",
    "port 502",
    "permission for port 502",
    "field zone, wlan0",
    "control zone, eth0",
    *(finding.name for finding in kernel.examine([], Path("/nowhere"))),
    "firewall",
    "firewall, field zone",
    "firewall, control zone",
    "history",
    "audit trail",
    "journal",
]
"""The doctor's checks of what provisioning brings about."""


def answer(checks: list[Check], layout: int = LAYOUT) -> str:
    made = record(examine.Examined(None, None, checks, []), NAME, 0.0)
    for check in made["checks"]:
        check[FIX_KEYS.get(layout, "fix")] = check.pop("fix")
    return json.dumps({**made, "layout": layout})


def good(*left_out: str, level: Level = Level.OK) -> list[Check]:
    """Return a good answer; the checks that are left out have another level, or are missing if it is OK."""
    return [
        Check(name, "found", "expected", level if name in left_out else Level.OK)
        for name in JUDGED
        if level is not Level.OK or name not in left_out
    ]


def test_this_releases_answer_leaves_nothing_to_the_controller() -> None:
    assert LAYOUT in FIX_KEYS
    found = verdict(answer(good()), NAME)
    assert found["missing"] == []
    assert [(row["name"], row["ok"], row["mark"]) for row in found["checks"]] == [
        (f"doctor: {name}", True, "ok") for name in JUDGED
    ]


def test_the_doctor_of_this_release_makes_every_check_that_a_topic_needs(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[server]\nport = 502\n")
    found = [*examine.examine(config, tmp_path).checks, *judge_unit({"LoadState": "loaded"})]
    names = {check.name for check in found}
    assert {name for name in JUDGED if not name.startswith("firewall, ")} <= names
    for patterns in TOPICS.values():
        for pattern in patterns:
            assert [name for name in names if re.fullmatch(pattern, name)], pattern


@pytest.mark.parametrize("layout", FIX_KEYS)
def test_a_bad_check_fails_with_its_fix_in_every_known_layout(layout: int) -> None:
    bad = Check("port 502", "closed", "open", Level.BAD, "make provision LIMIT=NAME-OF-THIS-PI")
    found = verdict(answer([*good("port 502"), bad], layout), NAME)
    assert found["missing"] == []
    assert found["checks"][-1] == {
        "name": "doctor: port 502",
        "found": "closed",
        "expected": "open",
        "ok": False,
        "mark": "BAD",
        "fix": "pi-north: port 502: make provision LIMIT=pi-north",
    }


def test_a_warning_is_shown_and_does_not_fail() -> None:
    warning = Check("service", "active (running), restarted once", "active", Level.WARNING, "look")
    [row] = verdict(answer([warning]), NAME)["checks"]
    assert (row["ok"], row["mark"]) == (True, "WARN")


@pytest.mark.parametrize(
    "name",
    [
        "clock",
        "disk, /",
        "disk, /var/lib/smart-meter",
        "card's wear",
        "card's life",
        "temperature",
        "restart",
        "supply voltage",
        "meter pv, unit 1",
        "ESP32 heard",
        "Opta reading",
        "last 24 hours",
        "last 24 hours: refusals",
    ],
)
def test_what_only_operation_shows_does_not_count(name: str) -> None:
    assert OPERATION.fullmatch(name)
    assert verdict(answer([*good(), Check(name, "x", "y", Level.BAD, "z")]), NAME) == verdict(
        answer(good()), NAME
    )


def test_what_provisioning_brings_about_counts() -> None:
    assert [name for name in JUDGED if OPERATION.fullmatch(name)] == []


@pytest.mark.parametrize(
    ("check", "topic"),
    [("unit file", "service"), ("port 502", "service"), ("journal", "journal"), ("source routes", "kernel")],
)
@pytest.mark.parametrize("level", [Level.OK, Level.UNKNOWN], ids=["has no such check", "does not know"])
def test_what_the_doctor_does_not_decide_is_judged_by_the_controller(
    check: str, topic: str, level: Level
) -> None:
    assert verdict(answer(good(check, level=level)), NAME)["missing"] == [topic]


@pytest.mark.parametrize(
    ("output", "mark"),
    [
        pytest.param("", "?", id="no doctor"),
        pytest.param("Traceback (most recent call last):", "BAD", id="a doctor that fails"),
        pytest.param('{"layout": 2', "BAD", id="cut off"),
        pytest.param("[]", "BAD", id="a list"),
        pytest.param('{"checks": []}', "BAD", id="no layout"),
        pytest.param('{"layout": 2, "checks": [{"name": "service"}]}', "BAD", id="no level"),
        pytest.param('{"layout": 2, "checks": [1]}', "BAD", id="no object"),
        pytest.param(answer(good(), layout=99), "?", id="a newer layout"),
    ],
)
def test_an_answer_that_is_not_understood_leaves_everything_to_the_controller(output: str, mark: str) -> None:
    found = verdict(output, NAME)
    assert found["missing"] == list(TOPICS)
    assert [(row["name"], row["mark"], row["ok"]) for row in found["checks"]] == [
        ("doctor", mark, mark == "?")
    ]


def test_a_level_that_is_not_known_is_not_good() -> None:
    unknown = json.loads(answer(good()))
    unknown["checks"][0]["level"] = "terrible"
    row = verdict(json.dumps(unknown), NAME)["checks"][0]
    assert (row["ok"], row["mark"]) == (False, "BAD")


def test_each_topic_has_its_tasks_in_the_playbook() -> None:
    [play] = yaml.safe_load(PLAYBOOK.read_text(encoding="utf-8"))
    included = {
        task["when"]: task["ansible.builtin.include_role"]
        for task in play["tasks"]
        if "ansible.builtin.include_role" in task
    }
    assert set(included) == {f"'{topic}' in verify_doctor.missing" for topic in TOPICS}
    for topic in TOPICS:
        role = included[f"'{topic}' in verify_doctor.missing"]
        assert role["tasks_from"] == f"verify_{topic}.yml"
        tasks = (REPOSITORY / "roles" / role["name"] / "tasks" / role["tasks_from"]).read_text(
            encoding="utf-8"
        )
        recorded = f"__{role['name']}_{topic}_checks"
        assert f"    {recorded}: " in tasks
        assert f"{recorded} | default([])" in play["vars"]["verify_checks"]


def test_ansible_finds_the_filter_and_shows_its_rows(tmp_path: Path) -> None:
    """The last two tasks of verify.yml, with an answer of the doctor and no roles."""
    assert FilterModule().filters() == {"doctor_verdict": verdict}
    [play] = yaml.safe_load(PLAYBOOK.read_text(encoding="utf-8"))
    bad = Check("journal", "in memory only", "on the card", Level.BAD, "flush it")
    warning = Check("history", "recorded, 3 lost", "recorded", Level.WARNING)
    output = answer([*good("journal", "history"), bad, warning])
    short: dict[str, Any] = {
        **play,
        "gather_facts": False,
        "become": False,
        "vars": {
            **play["vars"],
            **{f"__{role}_checks": [] for role in ("appliance", "network", "firewall", "authbind")},
            "__concentrator_checks": [
                {"name": "release", "found": "1.0", "expected": "2.0", "ok": False, "fix": "provision"}
            ],
            "__verify_answer": {"stdout": output},
        },
        "tasks": play["tasks"][-2:],
    }
    site = Site(tmp_path)
    site.write("inventory/group_vars/all.yml", "ansible_connection: local\n")
    (tmp_path / "inventory/group_vars/smart_meters.yml").unlink()
    site.hosts({NAME: ""})
    site.write("short.yml", yaml.safe_dump([short]))
    (tmp_path / "filter_plugins").symlink_to(REPOSITORY / "playbooks/filter_plugins")

    outcome = site.play(playbook="short.yml")

    assert outcome.returncode != 0
    shown = " ".join(outcome.output.split())
    assert "ok doctor: service found" in shown
    assert "BAD doctor: journal in memory only, expected on the card" in shown
    assert "WARN doctor: history recorded, 3 lost, expected recorded" in shown
    assert "BAD release 1.0, expected 2.0" in shown
    assert "pi-north: journal: flush it" in shown
