"""The variables with which Ansible connects."""

from __future__ import annotations

from typing import Any

import pytest
from ansible import constants
from ansible.plugins.loader import become_loader, connection_loader, shell_loader
from roles.preflight.rules.connection import CHECKED, VARIABLES, check_connection, misspelt
from roles.preflight.rules.problem import show_key

GOOD: dict[str, Any] = {
    "ansible_host": "192.168.2.100",
    "ansible_port": 22,
    "ansible_user": "pi",
    "ansible_connection": "ssh",
    "ansible_password": "the-password",
}
PORT = "give the port of the Pi's SSH server, or leave the line out for 22"
USER = "give the user to log in as, or leave the line out"
HOST = "give the Pi's address or name, or leave the line out"
PASSWORD = "give the password and keep it in Ansible Vault, or leave the line out"  # noqa: S105 - a hint


def problems_of(**values: Any) -> list[str]:
    return [f"{show_key(found.key)}: {found.message}" for found in check_connection(values)]


def test_what_is_right_or_not_set_passes() -> None:
    assert problems_of(**GOOD) == []
    assert problems_of() == []


@pytest.mark.parametrize("port", [1, 22, 65535, "2222"])
def test_a_port_is_a_number_or_its_digits(port: object) -> None:
    assert problems_of(ansible_port=port) == []


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("ansible_port", "abc", f'"abc" is not a port; {PORT}'),
        ("ansible_port", "22 ", f'"22 " is not a port; {PORT}'),
        ("ansible_port", 0, f"0 is not a port; {PORT}"),
        ("ansible_port", 65536, f"65536 is not a port; {PORT}"),
        ("ansible_port", True, f"true is not a port; {PORT}"),
        ("ansible_port", None, f"is empty; {PORT}"),
        ("ansible_port", "", f"is empty; {PORT}"),
        ("ansible_ssh_port", "abc", f'"abc" is not a port; {PORT}'),
        ("ansible_user", None, f"is empty; {USER}"),
        ("ansible_user", "", f"is empty; {USER}"),
        ("ansible_user", 0, "0 is not text to YAML; give the user to log in as, in quotation marks"),
        ("ansible_user", "-oProxyCommand=x", f'"-oProxyCommand=x" is not the name of a user; {USER}'),
        ("ansible_user", "two words", f'"two words" is not the name of a user; {USER}'),
        ("ansible_host", None, f"is empty; {HOST}"),
        ("ansible_host", 0, "0 is not text to YAML; give the Pi's address or name, in quotation marks"),
        (
            "ansible_host",
            192.168,
            "192.168 is not text to YAML; give the Pi's address or name, in quotation marks",
        ),
        (
            "ansible_connection",
            0,
            "0 is not text to YAML; give ssh, in quotation marks",
        ),
        ("ansible_password", None, f"is empty; {PASSWORD}"),
        ("ansible_become_pass", "", f"is empty; {PASSWORD}"),
        (
            "ansible_ssh_pass",
            31415926,
            "is not text to YAML (its value is not shown); put it in quotation marks",
        ),
    ],
)
def test_what_ansible_would_not_explain_is_refused(name: str, value: object, line: str) -> None:
    assert problems_of(**{**GOOD, name: value}) == [f"{name}: {line}"]


def test_the_names_are_those_that_ansible_documents() -> None:
    # Except for those that are not about the connection, or that only other plugins have.
    others = ("paramiko", "win", "local", "admin", "no_target", "target", "module", "deprecation", "facts")
    documented: set[str] = set()
    for kind, loader, name in (
        ("connection", connection_loader, "ssh"),
        ("become", become_loader, "sudo"),
        ("become", become_loader, "su"),
        ("shell", shell_loader, "sh"),
    ):
        loader.get(name, class_only=True)
        for option in constants.config.get_configuration_definitions(kind, name).values():
            documented |= {variable["name"] for variable in option.get("vars", ())}
    for option in constants.config.get_configuration_definitions().values():
        documented |= {variable["name"] for variable in option.get("vars") or ()}
    documented = {name for name in documented if name.startswith("ansible_") and "[" not in name}
    documented = {
        name for name in documented if not name.startswith(tuple(f"ansible_{other}" for other in others))
    }
    assert not {name for name in documented - VARIABLES if misspelt(name)}
    keywords = {"become", "become_method", "connection", "shell_executable", "shell_type", "timeout"}
    assert VARIABLES - documented == {f"ansible_{name}" for name in keywords}
    assert set(CHECKED) <= VARIABLES
