"""sshd's settings, and how they are changed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.template import trust_as_template
from roles.preflight.rules.settings import check_settings
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import load, provisioned, templar, that_would_run
from tools.generate.templates import load_plugins, render

SETTINGS = REPOSITORY / "templates/etc/ssh/sshd_config.d/10-smart-meter.conf.j2"
IDLE = REPOSITORY / "templates/etc/profile.d/smart-meter-idle.sh.j2"
TASKS = REPOSITORY / "roles/appliance/tasks/ssh.yml"
CHANGE = TASKS.with_name("ssh_change.yml")


def settings(login: str = "pi", release: str = "13", **variables: Any) -> dict[str, str]:
    load_plugins()
    look = {"systemd": True, "login": {"name": login}, "release": {"version": release}}
    lines = render(SETTINGS, preflight_look=look, **variables).splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert len({name for name, _ in words}) == len(words)
    return dict(words)


def test_nothing_is_forwarded_and_only_named_users_log_in() -> None:
    found = settings(appliance_ssh_users=["service", "pi"])

    assert found["AllowUsers"] == "pi service"
    assert found["PasswordAuthentication"] == found["PermitRootLogin"] == "no"
    assert found["DisableForwarding"] == "yes"
    for name in (
        "AllowTcpForwarding",
        "AllowAgentForwarding",
        "X11Forwarding",
        "PermitTunnel",
        "GatewayPorts",
    ):
        assert found[name] == "no", name


def test_a_jump_host_forwards_connections_and_nothing_else() -> None:
    found = settings(appliance_ssh_forwarding=True)

    assert found["AllowTcpForwarding"] == "local"
    assert "DisableForwarding" not in found
    assert found["AllowAgentForwarding"] == found["PermitTunnel"] == found["GatewayPorts"] == "no"


def test_root_may_log_in_only_if_ansible_does() -> None:
    found = settings(login="root")
    assert (found["PermitRootLogin"], found["AllowUsers"]) == ("prohibit-password", "root")


@pytest.mark.parametrize(
    ("release", "minutes", "timeout"),
    [("13", 15, "session:shell=15m"), ("", 5, "session:shell=5m"), ("13", 0, None), ("12", 15, None)],
)
def test_only_idle_shells_end(release: str, minutes: int, timeout: str | None) -> None:
    assert settings(release=release, appliance_ssh_idle_minutes=minutes).get("ChannelTimeout") == timeout


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("options", "connection", "expected"),
    [(["-i"], "1 2 3 4", "900"), ([], "1 2 3 4", ""), (["-i"], "", "")],
    ids=["a shell by SSH", "a command", "at the console"],
)
def test_without_the_option_the_shell_itself_ends(
    tmp_path: Path, options: list[str], connection: str, expected: str
) -> None:
    (tmp_path / "idle.sh").write_text(render(IDLE))
    command = f". {tmp_path}/idle.sh; printf '%s' \"$TMOUT\""
    done = subprocess.run(
        ["bash", "--norc", *options, "-c", command],
        capture_output=True,
        text=True,
        check=True,
        env={"SSH_CONNECTION": connection, "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout == expected


@pytest.mark.parametrize(
    ("release", "runs", "command"),
    [
        ("13", True, ["/usr/sbin/sshd", "-G", "-f", "%s"]),
        ("13", False, ["/usr/sbin/sshd", "-G", "-f", "%s"]),
        ("12", True, ["/usr/sbin/sshd", "-t", "-f", "%s"]),
    ],
)
def test_the_settings_are_checked_before_they_are_written(
    release: str, runs: bool, command: list[str]
) -> None:
    assert _check(release, runs=runs) == command


def test_debian_12_checks_them_without_host_keys_in_a_root_that_does_not_run() -> None:
    shell, option, script, *rest = _check("12", runs=False)

    assert [shell, option, *rest] == ["/bin/sh", "-c", "sh", "-f", "%s"]
    assert script.startswith("mkdir -p /run/sshd && ")
    assert script.endswith(' && exec /usr/sbin/sshd -t -h /run/sshd/key "$@"')
    subprocess.run(["/bin/sh", "-n", "-c", script], check=True)


def _check(release: str, *, runs: bool) -> list[str]:
    """Return the words of the command that checks a file."""
    look = {"systemd": runs, "release": {"version": release}}
    text = templar(preflight_look=look).template(trust_as_template("{{ __appliance_sshd_check }} -f %s"))
    return shlex.split(str(text))


def test_the_settings_are_changed_with_rollback() -> None:
    """The frame: saved, written, reloaded, a new connection, confirmed; else rolled back."""
    tasks = load(CHANGE)
    [frame] = [task for task in tasks if "rescue" in task]
    names = [task["name"].removeprefix("SSH | ") for task in [*tasks[:2], *frame["block"]]]
    assert names == [
        "Install the rollback guard",
        "Save the settings",
        "Accept only keys of these users, and forward nothing",
        "Reload sshd",
        "Close the old connection",
        "Reconnect",
        "Confirm",
    ]
    # Ansible resets a connection whatever the condition.
    assert not any("when" in task for task in [*tasks, *frame["block"]])
    assert "smart-meter-guard roll_back ssh" in str(frame["rescue"])
    begun = re.search(r"begin ssh (\d+)", str(tasks))
    assert begun
    # The Pi rolls back only after the controller has given up.
    assert int(begun[1]) > 45
    guard = (REPOSITORY / "templates/usr/local/sbin/smart-meter-guard.j2").read_text(encoding="utf-8")
    assert "firewall | network | ssh | configuration | release) ;;" in guard


@pytest.mark.parametrize(
    ("differs", "check", "systemd", "expected"),
    [
        (True, False, True, ["SSH | Change the settings, with rollback"]),
        (True, True, True, ["Files | Write the others that differ"]),
        (True, False, False, ["Files | Write the others that differ"]),
        (False, False, True, []),
        (False, True, True, []),
    ],
    ids=["on a Pi", "in check mode", "in a root that does not run", "as it is", "as it is, in check mode"],
)
def test_the_frame_is_entered_only_on_a_pi_that_differs(
    differs: bool, check: bool, systemd: bool, expected: list[str]
) -> None:
    look = provisioned("appliance")
    look["systemd"] = systemd
    if differs:
        look["files"]["/etc/ssh/sshd_config.d/10-smart-meter.conf"] = None
    ran = that_would_run("appliance", look, file="main.yml", ansible_check_mode=check, ansible_user="pi")
    frame, outside = "SSH | Change the settings, with rollback", "Files | Write the others that differ"
    assert [name for name in ran if name in (frame, outside)] == expected


@pytest.mark.parametrize("user", ["pi *", "*", "pi@10.0.0.1", "Pi", "", "-x", "a" * 40])
def test_a_pattern_is_not_a_user(user: str) -> None:
    [problem] = [
        found
        for found in check_settings({"appliance_ssh_users": ["pi", user]})
        if found.key[0] == "appliance_ssh_users"
    ]
    assert problem.key == ("appliance_ssh_users", 1)
    assert "is not a user's name" in problem.message
