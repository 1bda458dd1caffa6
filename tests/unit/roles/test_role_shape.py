"""What all roles have in common: specs that agree with defaults, names, variables, used templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes

REPOSITORY = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (REPOSITORY / "roles").iterdir() if (path / "tasks").is_dir())
TEMPLATES = sorted((REPOSITORY / "templates").rglob("*.j2"))
TASK_FILES = sorted((REPOSITORY / "roles").glob("*/tasks/*.yml"))
HANDLER_FILES = sorted((REPOSITORY / "roles").glob("*/handlers/*.yml"))

# Ansible's own variables; its facts and connection variables begin with ansible_.
FROM_ANSIBLE = {
    "inventory_hostname", "inventory_dir", "playbook_dir", "role_path", "role_name", "groups", "group_names",
    "hostvars", "item", "omit", "lookup", "query", "q", "now", "undef", "range", "dict", "namespace",
}  # fmt: skip
# Facts that the role preflight sets for the roles after it.
PASSED_ON = {"preflight_inventory_host", "preflight_last_host", "preflight_checked", "preflight_look"}
# Written for each zone, with the zone in its name.
BY_ZONE = "etc/NetworkManager/system-connections/smart-meter.nmconnection.j2"
EXPRESSIONS = {"when", "changed_when", "failed_when", "until", "that", "var"}


@cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options_of(role: str) -> dict[str, dict[str, Any]]:
    specs = load(REPOSITORY / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return {name: option for entry in specs.values() for name, option in entry["options"].items()}


def defaults_of(role: str) -> dict[str, Any]:
    path = REPOSITORY / "roles" / role / "defaults/main.yml"
    return load(path) or {}


def tasks_in(path: Path) -> Iterator[dict[str, Any]]:
    def walk(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for task in tasks:
            yield task
            for part in ("block", "rescue", "always"):
                yield from walk(task.get(part, []))

    yield from walk(load(path) or [])


def names_in(value: object, *, expression: bool = False) -> set[str]:
    """Return the variables that the templates within a value need from outside."""
    if isinstance(value, dict):
        # A task's own names stand for themselves: they live no longer than it does.
        local = {*(value.get("vars") or {}), (value.get("loop_control") or {}).get("loop_var")}
        parts = (names_in(inner, expression=key in EXPRESSIONS) for key, inner in value.items())
        return set().union(*parts) - local
    if isinstance(value, list):
        return set().union(*(names_in(inner, expression=expression) for inner in value), set())
    if not isinstance(value, str):
        return set()
    return names_in_template("{{ " + value + " }}" if expression else value)


def names_in_template(source: str) -> set[str]:
    # Ansible takes a backslash as itself.
    tree = Environment(autoescape=True).parse(source.replace("\\", "\\\\"))
    read = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "load"}
    made = {name.name for name in tree.find_all(nodes.Name) if name.ctx in {"store", "param"}}
    return read - made - {macro.name for macro in tree.find_all(nodes.Macro)}


def test_there_are_roles_and_templates_to_look_at() -> None:
    assert {"preflight", "network", "concentrator"} <= set(ROLES)
    assert TEMPLATES


@pytest.mark.parametrize("role", ROLES)
def test_spec_and_defaults_agree(role: str) -> None:
    options, defaults = options_of(role), defaults_of(role)
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_carries_the_roles_name_a_type_and_a_description(role: str) -> None:
    for name, option in options_of(role).items():
        assert name.startswith(f"{role}_"), name
        assert option["type"], name
        assert option["description"].endswith("."), name


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_description_and_a_license(role: str) -> None:
    meta = load(REPOSITORY / "roles" / role / "meta/main.yml")
    assert meta["galaxy_info"]["description"]
    assert meta["galaxy_info"]["license"]
    assert isinstance(meta["dependencies"], list)


@pytest.mark.parametrize("path", TASK_FILES + HANDLER_FILES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_every_task_has_a_name(path: Path) -> None:
    tasks = list(tasks_in(path))
    assert tasks
    for task in tasks:
        assert task.get("name"), task


@pytest.mark.parametrize("role", ROLES)
def test_a_role_uses_its_own_variables_and_what_others_offer(role: str) -> None:
    offered = {name for other in ROLES for name in options_of(other)} | FROM_ANSIBLE | PASSED_ON
    folder = REPOSITORY / "roles" / role
    used: dict[str, set[str]] = {}
    for path in sorted(
        [*folder.glob("tasks/*.yml"), *folder.glob("handlers/*.yml"), *folder.glob("vars/*.yml")]
    ):
        for name in names_in(load(path)):
            used.setdefault(name, set()).add(path.name)
    strangers = {
        name: files
        for name, files in used.items()
        if name not in offered and not name.startswith((f"__{role}_", "ansible_"))
    }
    assert strangers == {}


def test_what_a_role_keeps_to_itself_is_made_by_a_role() -> None:
    """A `__ROLE_` name that is read and never set is a spelling mistake."""
    made: set[str] = set()
    read: set[str] = set()
    for role in ROLES:
        folder = REPOSITORY / "roles" / role
        made |= set(load(folder / "vars/main.yml") or {}) if (folder / "vars/main.yml").exists() else set()
        for path in [*folder.glob("tasks/*.yml"), *folder.glob("handlers/*.yml")]:
            read |= names_in(load(path))
            for task in tasks_in(path):
                made |= {*task.get("vars", {}), *task.get("ansible.builtin.set_fact", {})}
                made |= {task.get("register"), task.get("loop_control", {}).get("loop_var")} - {None}
    assert {name for name in read if name.startswith("__")} <= made


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_a_template_is_that_of_a_file_which_a_role_manages(template: Path) -> None:
    """It is at the path of the file; that of the zones' profiles has a name of its own."""
    path = "/" + str(template.relative_to(REPOSITORY / "templates")).removesuffix(".j2")
    variables = (REPOSITORY / "roles").glob("*/vars/main.yml")
    assert any(re.search(rf"{path}(\.j2)?['\":\n]", each.read_text(encoding="utf-8")) for each in variables)


def test_only_the_module_managed_files_writes_what_the_look_compares() -> None:
    using = {
        path.name: task
        for path in TASK_FILES
        for task in tasks_in(path)
        if "ansible.builtin.template" in task
    }
    # To compare a file with the inventory, in check mode.
    assert list(using) == ["verify.yml"]
    copying = {path.name for path in TASK_FILES for task in tasks_in(path) if "ansible.builtin.copy" in task}
    # The archive of wheels, and copies on the Pi itself.
    assert copying == {"install.yml", "save.yml", "rollback.yml"}


def test_no_text_of_a_file_goes_to_the_journal() -> None:
    writing = [(path, task) for path in TASK_FILES for task in tasks_in(path) if "managed_files" in task]
    assert len(writing) > 10
    for path, task in writing:
        assert task["vars"]["ansible_no_target_syslog"] is True, (path, task["name"])


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_a_template_knows_its_variables(template: Path) -> None:
    offered = {name for role in ROLES for name in options_of(role)} | FROM_ANSIBLE
    internal = {
        name
        for role in ROLES
        if (path := REPOSITORY / "roles" / role / "vars/main.yml").exists()
        for name in load(path)
    }
    loops = {"loop"} | ({"zone"} if str(template).endswith(BY_ZONE) else set())
    names = names_in_template(template.read_text(encoding="utf-8"))
    assert {n for n in names if not n.startswith("ansible_")} <= offered | internal | loops


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_a_failure_is_passed_over_only_with_a_reason_beside_it(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.search(r"^\s*(failed_when: false|ignore_errors:|ignore_unreachable:)", line):
            beside = [line, *lines[max(0, number - 1) : number]]
            assert any("#" in near for near in beside), f"{path}:{number + 1}: {line.strip()}"
