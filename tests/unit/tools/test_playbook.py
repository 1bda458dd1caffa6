"""`tools/playbook.py`: the environment of ansible-playbook, and an inventory that is not YAML."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.roles.site import REPOSITORY, Site, good_host
from tools.playbook import broken_inventory, environment, inventories


def run(site: Site, repository: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a repository's check.yml over the inventory; return (exit code, output)."""
    program = [sys.executable, str(repository / "tools/playbook.py"), "-i", "inventory/hosts.yml"]
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "LC_", "LANG"))
    }
    done = subprocess.run(
        [*program, *arguments, str(repository / "playbooks/check.yml")],
        cwd=site.folder,
        env={
            **kept,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_VAULT_IDENTITY_LIST": "default@vault-of-the-tests",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.hosts({"pi-north": good_host(10)})
    return site


def test_a_broken_inventory_is_one_line(site: Site) -> None:
    site.write("inventory/hosts.yml", "smart_meters:\n  hosts:\n    pi-a: {\n    pi-b:\n")
    assert run(site, REPOSITORY) == (
        1,
        "inventory/hosts.yml:5:1: while parsing a flow node, expected the node content, "
        "but found '<stream end>'; fix the YAML there, or in the line above\n",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a:\n\tb:\n",
            ":2:1: while scanning for the next token, found character '\\t' that cannot start any token;",
        ),
        ("a: 'b\n", ":2:1: while scanning a quoted scalar, found unexpected end of stream;"),
        ("a: *b\n", ":1:4: found undefined alias 'b';"),
        ("- a\n", ":1: is not a record of groups; begin with the group smart_meters:"),
        ("\nsmart_meters\n", ":2: is not a record of groups;"),
        ("a: \x01\n", ": unacceptable character #x0001: special characters are not allowed"),
    ],
)
def test_the_line_of_a_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(text, encoding="utf-8")
    assert (broken_inventory(path) or "").startswith(f"{path}{expected}")
    assert "\n" not in str(broken_inventory(path))


@pytest.mark.parametrize("text", ["", "---\n", "smart_meters:\n", "a: !vault x\n", "a: 1\na: 2\n"])
def test_what_is_yaml_is_left_to_ansible(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(text, encoding="utf-8")
    assert broken_inventory(path) is None


def test_what_is_not_meant_as_yaml_is_left_to_ansible(tmp_path: Path) -> None:
    for name in ("hosts", "hosts.ini", "script.yml"):
        (tmp_path / name).write_text("[smart_meters\n{")
    (tmp_path / "script.yml").chmod(0o755)
    for path in (
        tmp_path / "hosts",
        tmp_path / "hosts.ini",
        tmp_path / "script.yml",
        tmp_path / "none.yml",
        tmp_path,
    ):
        assert broken_inventory(path) is None


def test_the_inventory_is_ansibles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert inventories(["--limit", "a"]) == [Path("inventory/hosts.yml")]
    assert inventories(["-ia.yml", "-i", "b.yml", "--inventory=c.yml", "site.yml", "-e", "d"]) == [
        Path("a.yml"),
        Path("b.yml"),
        Path("c.yml"),
    ]


def test_a_configuration_of_the_users_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    assert environment()["ANSIBLE_CONFIG"] == str(REPOSITORY / "ansible.cfg")
    monkeypatch.setenv("ANSIBLE_CONFIG", "/etc/mine.cfg")
    assert "ANSIBLE_CONFIG" not in environment()


def test_a_clone_that_everybody_may_write_to_and_a_bare_locale_work(site: Site, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for folder in ("playbooks", "roles", "src", "templates", "tools"):
        shutil.copytree(
            REPOSITORY / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    shutil.copy(REPOSITORY / "ansible.cfg", clone)
    clone.chmod(0o777)
    code, output = run(site, clone, LC_ALL="C")
    assert code == 0, output
    assert "1 Pi checked, nothing to fix" in output


def test_an_old_ansible_is_refused_on_one_line(site: Site) -> None:
    program = (
        "from ansible import release; release.__version__ = '2.14.18'; "
        "from ansible.cli.playbook import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "-i", "inventory/hosts.yml", str(REPOSITORY / "playbooks/check.yml")],
        cwd=site.folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "[ERROR]: ansible-core 2.14.18 is too old for the roles; "
        "use make, which runs the one in .venv, or install ansible-core 2.19 or later"
    )


def test_the_plugin_that_refuses_an_old_ansible_loads_on_an_old_python() -> None:
    source = (REPOSITORY / "playbooks/vars_plugins/smart_meters.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    imported = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not [module for module in imported if str(module).startswith(("roles", "smart_meter", "tools"))]
