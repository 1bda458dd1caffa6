"""Secrets stay out of logs, differences, process lists, files that everybody reads, and the wheel."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible.template import trust_as_template
from tests.unit.roles.test_role_files import templar
from tests.unit.roles.test_role_shape import (
    BY_ZONE,
    HANDLER_FILES,
    REPOSITORY,
    ROLES,
    TASK_FILES,
    TEMPLATES,
    load,
    names_in,
    names_in_template,
    options_of,
    tasks_in,
)

PLAYBOOKS = sorted((REPOSITORY / "playbooks").glob("*.yml"))
CONNECTION = {"ansible_become_password", "ansible_become_pass", "ansible_password", "ansible_ssh_pass"}
WRITERS = ("ansible.builtin.template", "ansible.builtin.copy", "ansible.builtin.lineinfile")
# What every user of the system sees while it runs.
COMMANDS = ("ansible.builtin.command", "ansible.builtin.shell", "ansible.builtin.raw")


def secrets() -> set[str]:
    """Return the variables that are secrets, and those of the roles that are made of them."""
    found = {name for role in ROLES for name, option in options_of(role).items() if option.get("no_log")}
    found |= CONNECTION
    while True:
        made = {
            name
            for role in ROLES
            for path in (REPOSITORY / "roles" / role / "vars").glob("*.yml")
            for name, value in (load(path) or {}).items()
            if names_in(value) & found
        }
        if made <= found:
            return found
        found |= made


SECRETS = secrets()


def all_tasks() -> list[tuple[str, dict[str, Any]]]:
    tasks = [(path, task) for path in TASK_FILES + HANDLER_FILES for task in tasks_in(path)]
    for path in PLAYBOOKS:
        for play in load(path):
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                tasks += [(path, task) for task in play.get(part, [])]
    return [(f"{path.relative_to(REPOSITORY)}: {task['name']}", task) for path, task in tasks]


def handling(task: dict[str, Any]) -> set[str]:
    """Return the secrets that a task's own lines use; a block's tasks stand for themselves."""
    return (
        names_in({key: value for key, value in task.items() if key not in {"block", "rescue", "always"}})
        & SECRETS
    )


def test_the_passphrase_is_known_as_a_secret() -> None:
    assert "network_field_psk" in SECRETS


def test_whatever_is_named_like_a_secret_is_marked_as_one() -> None:
    named = {
        name
        for role in ROLES
        for name in options_of(role)
        if re.search(r"(psk|password|passphrase|secret|token)$", name)
    }
    assert named <= SECRETS


@pytest.mark.parametrize(
    ("where", "task"), all_tasks(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_task_that_handles_a_secret_shows_neither_it_nor_its_difference(
    where: str, task: dict[str, Any]
) -> None:
    if handling(task):
        assert task.get("no_log") is True, where
        assert task.get("diff") is False, where
        assert not set(COMMANDS) & set(task), f"{where}: everybody sees the arguments of a command"


def test_only_the_field_zones_profile_holds_a_secret() -> None:
    holding = [path for path in TEMPLATES if names_in_template(path.read_text(encoding="utf-8")) & SECRETS]
    assert [str(path.relative_to(REPOSITORY / "templates")) for path in holding] == [BY_ZONE]
    [writing] = [task for where, task in all_tasks() if where.endswith("Write the field zone's profile")]
    assert writing["no_log"] is True
    assert writing["diff"] is False
    # The control zone is never a Wi-Fi, so its profile has no passphrase.
    assert options_of("network")["network_control_type"]["choices"] == ["ethernet"]
    texts = {"__network_texts", "__network_field_texts"}
    using = {task["name"]: task for _, task in all_tasks() if names_in(task) & texts}
    assert set(using) == {
        "Files | List what differs",
        "Profiles | Write the field zone's profile",
        "Card | Add the network's files",
    }
    assert all(task["no_log"] is True for task in using.values())


def test_every_file_that_a_role_writes_names_who_may_read_it_and_nobody_else_writes_it() -> None:
    written = 0
    for where, task in all_tasks():
        for writer in WRITERS:
            if isinstance(task.get(writer), dict) and task[writer].get("state") != "absent":
                mode = task[writer].get("mode")
                modes = [item["mode"] for item in task["loop"]] if mode == "{{ item.mode }}" else [mode]
                for each in modes:
                    assert isinstance(each, str), f"{where}: mode"
                    assert re.fullmatch(r"0[0-7]{3}", each), f"{where}: {each}"
                    assert int(each, 8) & 0o022 == 0, f"{where}: {each} lets others write"
                    written += 1
    assert written >= 3


def test_the_configuration_is_for_root_and_the_service_alone() -> None:
    files = templar(role_path=str(REPOSITORY / "roles/concentrator")).template(
        trust_as_template("{{ __concentrator_files }}")
    )
    record = files["/etc/smart-meter/config.toml"]
    assert (record["mode"], record["owner"], record["group"]) == ("0640", "root", "smart-meter")


def test_modules_get_their_arguments_through_the_connection_and_not_by_a_file() -> None:
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "ansible.cfg")
    assert settings["ssh_connection"].getboolean("pipelining")
    assert not settings.has_option("defaults", "log_path")
    assert not settings["defaults"].getboolean("keep_remote_files", fallback=False)


def test_the_wheel_holds_the_program_and_nothing_of_the_inventory(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "smart_meter/cli/main.py" in names
    strangers = [
        name
        for name in names
        if not re.fullmatch(r"smart_meter/.*\.(py|typed)|smart_meter-[^/]+\.dist-info/.*", name)
    ]
    assert strangers == []


@pytest.mark.parametrize("name", [".vault-password", ".vault-password-north"])
def test_git_ignores_the_passwords_of_the_vaults(name: str) -> None:
    done = subprocess.run(
        ["git", "check-ignore", f"inventory/{name}"], cwd=REPOSITORY, check=False, capture_output=True
    )
    assert done.returncode == 0
