"""The part of a role that needs no running system, tasks/files.yml, and what it compares with the Pi."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader
from ansible.template import Templar, trust_as_template
from tests.unit.roles.loaded import ROLES
from tests.unit.roles.looks import answer
from tests.unit.roles.site import REPOSITORY

filter_loader.add_directory(str(REPOSITORY / "playbooks/filter_plugins"))
filter_loader.add_directory(str(REPOSITORY / "roles/network/filter_plugins"))
filter_loader.add_directory(str(REPOSITORY / "roles/firewall/filter_plugins"))

IN_TWO_PARTS = sorted(path.parent.parent.name for path in REPOSITORY.glob("roles/*/tasks/files.yml"))
# What these do is the same in a root that does not run.
HARMLESS = {
    "ansible.builtin.copy",
    "managed_files",
    "ansible.builtin.apt",
    "preflight_packages",
    "ansible.builtin.assert",
    "ansible.builtin.debug",
    "ansible.builtin.file",
    "ansible.builtin.group",
    "ansible.builtin.import_role",
    "ansible.builtin.import_tasks",
    "ansible.builtin.lineinfile",
    "ansible.builtin.set_fact",
    "ansible.builtin.stat",
    "ansible.builtin.systemd_service",
    "ansible.builtin.user",
    "concentrator_pi",
    "preflight_look",
}
KEYWORDS = {
    *("name", "when", "vars", "block", "notify", "loop", "loop_control", "register", "no_log", "diff"),
    "changed_when",
    "check_mode",
    "delegate_to",
    "become",
}
HOST: dict[str, Any] = {
    "inventory_hostname": "pi-north",
    "groups": {"smart_meters": ["pi-north"]},
    "hostvars": {"pi-north": {}},
}
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def load(path: Path) -> Any:
    return DataLoader().load_from_file(str(path), trusted_as_template=True) or {}


@cache
def internal_variables() -> dict[str, Any]:
    internal: dict[str, Any] = {}
    for path in sorted(REPOSITORY.glob("roles/*/vars/main.yml")):
        internal |= load(path)
    return internal


def templar(**variables: Any) -> Templar:
    known = {**ROLES.defaults, **internal_variables(), **HOST, "ansible_check_mode": False, **variables}
    return Templar(DataLoader(), known)


def each_item(task: dict[str, Any], **variables: Any) -> Iterator[Templar]:
    """Yield what templates each turn of a task's loop; one without a loop has one turn."""
    for item in templar(**variables).template(task.get("loop", [""])):
        yield templar(**variables, item=item)


def tasks_of(role: str, file: str = "files.yml") -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield the tasks with their conditions, those that are imported from here and from other roles, too."""

    def walk(
        role: str, tasks: list[dict[str, Any]], outer: list[str]
    ) -> Iterator[tuple[dict[str, Any], list[str]]]:
        for task in tasks:
            given = task.get("when", [])
            conditions = [*outer, *(given if isinstance(given, list) else [given])]
            imported = task.get("ansible.builtin.import_role")
            if "block" in task:
                yield from walk(role, task["block"], conditions)
            elif imported:
                path = (
                    REPOSITORY / "roles" / imported["name"] / "tasks" / imported.get("tasks_from", "main.yml")
                )
                yield from walk(imported["name"], load(path), conditions)
            elif name := task.get("ansible.builtin.import_tasks"):
                yield from walk(role, load(REPOSITORY / "roles" / role / "tasks" / name), conditions)
            else:
                yield task, conditions

    yield from walk(role, load(REPOSITORY / "roles" / role / "tasks" / file), [])


def that_would_run(
    role: str, look: dict[str, Any], *, file: str = "files.yml", **variables: Any
) -> list[str]:
    """Return the names of the role's tasks whose conditions hold, in the order in which they would run."""
    return [str(task["name"]) for task, _ in _that_would_run(role, look, file, **variables)]


def that_would_be_written(
    role: str, look: dict[str, Any], *, file: str = "files.yml", **variables: Any
) -> dict[str, dict[str, Any]]:
    """Return what the role would write, by path: folders, files and links, as managed_files takes them."""
    written: dict[str, dict[str, Any]] = {}
    for task, now in _that_would_run(role, look, file, **variables):
        for records in now.template(task.get("managed_files", {})).values():
            written |= {record["path"]: record for record in records}
    return written


def _that_would_run(
    role: str, look: dict[str, Any], file: str, **variables: Any
) -> Iterator[tuple[dict[str, Any], Templar]]:
    """Yield the tasks whose conditions hold, and what templates their arguments."""
    known = {**variables, "preflight_look": look, "role_path": str(REPOSITORY / "roles" / role)}
    for task, conditions in tasks_of(role, file):
        known |= task.get("vars", {}) if "ansible.builtin.include_tasks" in task else {}
        changed = False
        for now in each_item(task, **{**known, **task.get("vars", {})}):
            if all(now.evaluate_conditional(trust_as_template(str(each))) for each in conditions):
                if facts := task.get("ansible.builtin.set_fact"):
                    known |= {name: now.template(value) for name, value in facts.items()}
                else:
                    changed = True
        if changed:
            yield task, templar(**{**known, **task.get("vars", {})})
        if "register" in task:
            result = {"changed": changed, "skipped": not changed, "look": look}
            known[task["register"]] = variables.get(task["register"], result)


def test_there_are_roles_in_two_parts() -> None:
    assert IN_TWO_PARTS


# Under which all files of the role are written; those of a Pi are written in a root that does not run, too.
ALL_WANTED: dict[str, dict[str, Any]] = {
    "appliance": {
        "appliance_watchdog_seconds": 10,
        "appliance_unattended_reboot_time": "03:30",
        "ansible_user": "pi",
    },
    "concentrator": {"concentrator_port_binding": "socket"},
}


@pytest.mark.parametrize("role", IN_TWO_PARTS)
def test_what_is_compared_with_the_pi_is_written_and_nothing_else(role: str) -> None:
    look = {**answer(), "systemd": False, "release": {**answer()["release"], "version": "12"}}
    look["units"] = {unit: ["", ""] for unit in _units()}
    look["users"] = {"smart-meter": None}
    look["byport"] = {}
    given = {**STATE, **ALL_WANTED.get(role, {}), "preflight_look": look}
    files, asked = (
        templar(**given).template(trust_as_template(f"{{{{ __{role}_{name} | default([]) }}}}"))
        for name in ("files", "asked")
    )
    look["files"] = {**dict.fromkeys(files), **dict.fromkeys(asked), "/etc/cloud/cloud.cfg.d": "irregular"}
    del given["preflight_look"]

    written = that_would_be_written(role, look, **given)

    owned = ("mode", "owner", "group")
    with_text = {path: record for path, record in written.items() if "text" in record}
    assert {path: {name: record[name] for name in owned} for path, record in with_text.items()} == files
    assert all(isinstance(record["text"], str) for record in with_text.values())


def _units() -> set[str]:
    internal = internal_variables()
    names = templar().template(
        [trust_as_template(f"{{{{ {name} }}}}") for name in internal if name.endswith("_units")]
    )
    return {unit for units in names for unit in units}


@pytest.mark.parametrize("role", IN_TWO_PARTS)
def test_who_may_use_what_is_written_is_named_and_nobody_else_writes_it(role: str) -> None:
    """A mode that is a number would be read as a decimal one."""
    files = templar(**STATE).template(trust_as_template(f"{{{{ __{role}_files }}}}"))
    for path, record in files.items():
        assert re.fullmatch(r"0[0-7]{3}", record["mode"]), path
        assert int(record["mode"], 8) & 0o022 == 0, f"{path}: others may write it"


@pytest.mark.parametrize("role", IN_TWO_PARTS)
def test_the_part_for_files_needs_no_running_system(role: str) -> None:
    for task, conditions in tasks_of(role):
        # A unit that is active is on a running system.
        harmless = (
            "not preflight_look.systemd" in conditions
            or any(condition.endswith("_state == 'active'") for condition in conditions)
            or task.get("changed_when") is False
        )
        offline = {"ansible.builtin.command"} if harmless else set()
        assert set(task) - KEYWORDS <= HARMLESS | offline, task["name"]
        # Whether it runs, and is started again, is decided elsewhere.
        assert "state" not in task.get("ansible.builtin.systemd_service", {}), task["name"]


# What the concentrator reads in each run.
READS = {
    "concentrator": [
        "Build | Prepare the wheels for this Pi's Python and architecture",
        "Running | Read the written files, those that the service started with, and the state of the unit",
        "Compare | Compare the release's files with their recorded hashes",
    ]
}
COMMAND = "Command=/opt/smart-meter/current/bin/smart-meter"
UNIT = ["ActiveState=active", "NeedDaemonReload=no", "NRestarts=0", "Releases=1", "Left=0", COMMAND]
STATE: dict[str, Any] = {
    "__concentrator_wheelhouse": {
        "stdout": json.dumps({"release": "0.1.0+1", "archive": "/w.tar", "installer": "pip.whl", "sum": ""})
    },
    "__concentrator_states": {
        "stdout_lines": ["c", "c", "releases/0.1.0+1", "releases/0.1.0+1", "u", "u", *UNIT]
    },
    "__concentrator_whole": {"stdout": "whole"},
    "__concentrator_folder_states": {"results": []},
}


def provisioned(*roles: str, **variables: Any) -> dict[str, Any]:
    """Return the look at a Pi on which the roles find nothing to do."""
    files: dict[str, Any] = {}
    units: dict[str, list[str]] = {}
    for role in roles:
        now = templar(**variables, role_path=str(REPOSITORY / "roles" / role), preflight_look=answer())
        wanted, texts, asked, enabled = (
            now.template(trust_as_template(f"{{{{ __{role}_{name} | default({default}) }}}}"))
            for name, default in (("files", {}), ("texts", [""]), ("asked", []), ("units", []))
        )
        files |= dict.fromkeys(asked)
        files |= {
            path: [hashlib.sha256(text.encode()).hexdigest(), file["mode"], file["owner"], file["group"]]
            for (path, file), text in zip(wanted.items(), texts, strict=True)
        }
        units |= {unit: ["active", "enabled"] for unit in enabled}
    # A Pi without avahi, on which no change waits for its rollback.
    absent = internal_variables()["__firewall_avahi"] + internal_variables()["__firewall_timers"]
    # Without a window for restarts.
    units |= {unit: ["", ""] for unit in [*absent, "smart-meter-restart.timer"]}
    # A folder.
    files |= {"/var/log/journal": "irregular"}
    # The watchdog's time is the distribution's.
    files |= {"/etc/systemd/system.conf.d/90-smart-meter.conf": None}
    packages = ["authbind", "iw", "systemd-timesyncd", "ufw", "unattended-upgrades", "wireless-regdb"]
    return answer(
        {
            "files": files,
            "units": units,
            "packages": packages,
            "ufw": ufw(),
            "zone": "Etc/UTC",
            "name.hosts": "127.0.1.1\tpi-north\n",
        }
    )


def ufw() -> dict[str, Any]:
    """Return the look at the firewall of a Pi that has the inventory's rules."""
    now = templar()
    added, policies = (
        now.template(trust_as_template(f"{{{{ {name} }}}}"))
        for name in ("__firewall_wanted", "__firewall_policies")
    )
    return {"installed": True, "enabled": True, "active": True, "added": added, "defaults": list(policies)}


@pytest.mark.parametrize("role", IN_TWO_PARTS)
def test_a_role_runs_nothing_on_a_pi_that_has_it_all(role: str) -> None:
    assert that_would_run(role, provisioned(role), **STATE) == READS.get(role, [])


FRESH = answer({"packages": [], "files": {"/etc/authbind/byport/502": None}, "users": {"smart-meter": None}})
PROVISIONED = answer(
    {
        "packages": ["authbind"],
        "files": {"/etc/authbind/byport/502": [EMPTY, "0500", "smart-meter", "smart-meter"]},
    }
)


def test_authbind_is_set_up_on_a_fresh_pi() -> None:
    assert that_would_run("authbind", FRESH) == [
        "Packages | Install missing packages",
        "User | Create the group",
        "User | Create a user without shell or home",
        "Files | Permit the service user to bind the port",
    ]


def test_in_check_mode_a_fresh_pi_is_not_asked_for_what_only_the_package_brings() -> None:
    assert that_would_run("authbind", FRESH, ansible_check_mode=True) == [
        "User | Create the group",
        "User | Create a user without shell or home",
    ]


@pytest.mark.parametrize(
    ("place", "value", "task"),
    [
        ("packages", [], "Packages | Install missing packages"),
        (
            "files",
            {"/etc/authbind/byport/502": [EMPTY, "0501", "smart-meter", "smart-meter"]},
            "Files | Permit the service user to bind the port",
        ),
        (
            "users",
            {"smart-meter": ["smart-meter", "/nonexistent", "/bin/sh", "Modbus TCP data concentrator"]},
            "User | Create a user without shell or home",
        ),
    ],
)
def test_authbind_repairs_what_differs(place: str, value: Any, task: str) -> None:
    assert task in that_would_run("authbind", {**PROVISIONED, place: value})


@pytest.mark.parametrize(
    ("binding", "expected"), [("authbind", ["1502", "99"]), ("socket", ["1502", "502", "99"])]
)
def test_the_service_keeps_only_the_permission_that_it_needs(binding: str, expected: list[str]) -> None:
    byport = {"502": "smart-meter", "1502": "smart-meter", "99": "smart-meter", "80": "www-data"}
    [(task, _)] = tasks_of("authbind", "revoke.yml")
    look = {**PROVISIONED, "byport": byport}
    now = templar(preflight_look=look, concentrator_port_binding=binding, **task["vars"])

    assert sorted(now.template(task["loop"])) == expected
