"""When the role network changes a Pi, and what it writes: decided by the look."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ansible.template import trust_as_template
from tests.unit.roles.looks import UUID
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import (
    load,
    provisioned,
    tasks_of,
    templar,
    that_would_be_written,
    that_would_run,
)

SITE = {
    "network_field_ssid": "north-field",
    "network_field_psk": "correct horse",
    "network_country": "DE",
}
FIELD = "/etc/NetworkManager/system-connections/smart-meter-field.nmconnection"
COPY = "/var/lib/smart-meter-guard/profiles/smart-meter-field.nmconnection"
CONFIRMED = "/etc/NetworkManager/conf.d/91-smart-meter.conf"
PENDING = "/var/lib/smart-meter-guard/network/paths"
CHANGE = "Change the profiles, with rollback"


def value(name: str, **variables: Any) -> Any:
    """Return one of the role's internal variables."""
    return templar(**SITE, **variables).template(trust_as_template(f"{{{{ {name} }}}}"))


def running() -> dict[str, Any]:
    """Return the look at a Pi whose network is as it has to be."""
    return copy.deepcopy(_running())


@cache
def _running() -> dict[str, Any]:
    look = provisioned("network", "guard", **SITE)
    devices = {
        zone["interface"]: {
            **look["nm"]["devices"]["eth0"],
            "uuid": zone["uuid"],
            "addresses": [zone["address"]],
        }
        for zone in value("__network_zones", preflight_look=look)
    }
    return {**look, "nm": {**look["nm"], "devices": devices}}


def tasks(look: dict[str, Any], **variables: Any) -> list[str]:
    return that_would_run("network", look, file="main.yml", **SITE, **variables)


def test_a_second_run_changes_and_asks_nothing_but_the_kernels_settings() -> None:
    assert tasks(running()) == [
        "Kernel | Compare the settings in force on each interface",
        "Set up the Wi-Fi, or remove it",
    ]
    assert that_would_run("network", running(), file="wifi.yml", **SITE) == []


@pytest.mark.parametrize("path", [FIELD, COPY, CONFIRMED])
def test_a_file_that_differs_is_changed_with_rollback(path: str) -> None:
    look = running()
    look["files"][path] = None

    assert tasks(look)[-1] == CHANGE
    assert CHANGE not in tasks(look, ansible_check_mode=True)


@pytest.mark.parametrize(
    "device", [{"state": 30}, {"uuid": "0d3b71e1-15f2-7a57-98d5-0d43e0a1e2aa"}, {"addresses": []}, None]
)
def test_a_zone_without_its_profile_is_a_change(device: dict[str, Any] | None) -> None:
    look = running()
    if device is None:
        del look["nm"]["devices"]["eth0"]
    else:
        look["nm"]["devices"]["eth0"].update(device)

    assert tasks(look)[-1] == CHANGE


@pytest.mark.parametrize("left", ["checkpoint", "files"])
def test_a_change_that_an_interrupted_run_left_comes_first(left: str) -> None:
    look = running()
    if left == "checkpoint":
        look["nm"]["checkpoints"] = 1
    else:
        look["files"][PENDING] = ["0" * 64, "0600", "root", "root"]

    first = "Continue a network change that an interrupted run has left, or undo it"
    assert tasks(look)[0] == first
    assert first not in tasks(look, ansible_check_mode=True)


def test_a_change_that_is_continued_is_activated_and_confirmed_though_no_file_differs() -> None:
    assert tasks(running(), __network_continued="/org/x/Checkpoint/1")[-1] == CHANGE


def test_a_file_that_can_cut_the_connection_is_never_written_outside_of_a_change() -> None:
    look = running()
    look["files"] = dict.fromkeys(look["files"])

    names = tasks(look)
    assert [name for name in names if name.startswith(("Profiles |", "Confirmed |"))] == []
    assert not set(that_would_be_written("network", look, file="main.yml", **SITE)) & set(
        value("__network_tried_files")
    )
    assert that_would_run("network", look, **SITE)[-3:] == [
        "Profiles | Write NetworkManager's settings and the control zone's profile",
        "Profiles | Write the field zone's profile",
        "Confirmed | Keep to the zones' profiles, without probes",
    ]


def test_the_passphrase_is_in_the_field_zones_texts_and_in_no_others() -> None:
    def holding(name: str) -> set[bool]:
        role = {"role_path": str(REPOSITORY / "roles/network"), "preflight_look": running()}
        return {SITE["network_field_psk"] in text for text in value(name, **role)}

    assert holding("__network_field_texts") == {True}
    assert holding("__network_open_texts") == {False}


def test_a_wired_field_network_needs_no_file_of_the_wifi() -> None:
    files = value("__network_files", network_field_type="ethernet")
    assert [path for path in files if "wifi" in path] == []
    assert "/usr/local/sbin/smart-meter-wifi" in value("__network_asked", network_field_type="ethernet")


NETPLAN = {
    "uuid": "0d3b71e1-15f2-7a57-98d5-0d43e0a1e2aa",
    "id": "smart-meter-field",
    "file": "/run/NetworkManager/system-connections/netplan-NM-0d3b71e1.nmconnection",
}


@pytest.mark.parametrize(
    ("profiles", "profile", "expected"),
    [
        ({"field": UUID, "control": ""}, NETPLAN, UUID),
        ({"field": "", "control": ""}, NETPLAN, NETPLAN["uuid"]),
        ({"field": "", "control": ""}, {**NETPLAN, "file": "/etc/x"}, "aad7a2ea-c8cb-52c2-94df-74994d125392"),
        ({"field": "", "control": ""}, {**NETPLAN, "id": "office"}, "aad7a2ea-c8cb-52c2-94df-74994d125392"),
    ],
)
def test_a_profile_keeps_its_uuid(profiles: dict[str, str], profile: dict[str, str], expected: str) -> None:
    look = running()
    look["profiles"] = profiles
    look["nm"]["profiles"] = [profile]

    assert value("__network_uuids", preflight_look=look)["field"] == expected


@pytest.mark.parametrize(("version", "restricts"), [("13", True), ("12", False), ("", True), ("14", True)])
def test_only_a_networkmanager_that_can_is_limited_to_our_profiles(version: str, restricts: bool) -> None:
    look = running()
    look["release"]["version"] = version

    assert value("__network_restricts", preflight_look=look) is restricts


def test_rivals_are_profiles_in_etc_that_fit_an_interface() -> None:
    [(task, _)] = tasks_of("network", "rivals.yml")
    look = running()
    base = {
        **look["nm"]["profiles"][0],
        "uuid": NETPLAN["uuid"],
        "interface": "eth0",
        "mac": "",
        "type": "802-3-ethernet",
        "autoconnect": True,
        "file": "/etc/NetworkManager/system-connections/office.nmconnection",
    }
    mac = look["nm"]["devices"]["eth0"]["mac"]
    rivals = [
        {**base, "id": "bound"},
        {**base, "id": "unbound", "interface": ""},
        {**base, "id": "by MAC address", "interface": "", "mac": mac},
        {**base, "id": "wireless", "interface": "", "type": "802-11-wireless"},
    ]
    others = [
        {**base, "interface": "eth7"},
        {**base, "interface": "", "mac": "02:00:00:00:00:07"},
        {**base, "type": "bridge"},
        {**base, "autoconnect": False},
        {**base, "file": "/run/NetworkManager/system-connections/netplan-eth0.nmconnection"},
        {**base, "uuid": value("__network_uuids", preflight_look=look)["control"]},
    ]
    look["nm"]["profiles"] = [*others, *rivals]

    found = templar(**SITE, preflight_look=look).template(task["vars"]["__network_fitting"])
    assert [profile["id"] for profile in found] == [profile["id"] for profile in rivals]


def task_of(file: str, name: str) -> dict[str, Any]:
    """Return a task of the role, with those in blocks and rescues."""
    path = REPOSITORY / "roles/network/tasks" / file
    [found] = [task for task in tasks_in_file(load(path)) if task["name"] == name]
    return found


def tasks_in_file(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in items:
        yield task
        for part in ("block", "rescue"):
            yield from tasks_in_file(task.get(part, []))


def run(arguments: list[str], folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a task in a folder, with programs that have these bodies and note their calls."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "calls").write_text("")
    for name, body in programs.items():
        program = folder / "bin" / name.replace("_", "-")
        program.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >> {folder}/calls\n{body}\n')
        program.chmod(0o755)
    moved = [
        argument.replace("/etc/", f"{folder}/etc/").replace("/run/", f"{folder}/run/")
        if " " in argument
        else argument
        for argument in arguments
    ]
    return subprocess.run(
        moved,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        timeout=20,
    )


def test_the_activation_probes_for_other_hosts_and_lifts_what_holds_once_it_is_confirmed(
    tmp_path: Path,
) -> None:
    task = task_of("activate.yml", "Activate | Make NetworkManager apply the new profiles")
    zones = value("__network_zones", preflight_look=running())
    now = templar(**SITE, preflight_look=running(), __network_to_activate=zones, **task["vars"])
    arguments = now.template(task["ansible.builtin.command"]["argv"])
    confirmed = tmp_path / CONFIRMED.lstrip("/")
    confirmed.parent.mkdir(parents=True)
    confirmed.touch()

    done = run(list(map(str, arguments[arguments.index("/bin/sh") :])), tmp_path, nmcli="")

    assert (done.returncode, done.stderr) == (0, "")
    assert not confirmed.exists()
    probes = tmp_path / "run/NetworkManager/conf.d/95-smart-meter-probes.conf"
    assert probes.read_text() == (
        "[connection-smart-meter-probes]\n"
        "match-device=interface-name:wlan0,interface-name:eth0\n"
        "ipv4.dad-timeout=2000\n"
    )
    assert (tmp_path / "calls").read_text().splitlines() == [
        "nmcli general reload conf",
        *(f"nmcli --wait 0 connection up uuid {zone['uuid']}" for zone in zones),
    ]


@pytest.mark.parametrize(
    ("paths", "checkpoints", "continued"),
    [
        (CONFIRMED, 'ao 1 "/org/freedesktop/NetworkManager/Checkpoint/7"', True),
        (CONFIRMED, "ao 0", False),
        # Another program's, too.
        (CONFIRMED, 'ao 2 "/org/x/Checkpoint/7" "/org/x/Checkpoint/8"', False),
        ("/etc/netplan", 'ao 1 "/org/freedesktop/NetworkManager/Checkpoint/7"', False),
        (None, 'ao 1 "/org/freedesktop/NetworkManager/Checkpoint/7"', False),
    ],
)
def test_an_interrupted_change_is_continued_if_it_can_still_be_rolled_back_as_a_whole(
    tmp_path: Path, paths: str | None, checkpoints: str, continued: bool
) -> None:
    task = task_of("left.yml", "Left | Continue a change of an interrupted run")
    arguments = list(map(str, templar(**SITE).template(task["ansible.builtin.command"]["argv"])))
    pending = tmp_path / "paths"
    if paths is not None:
        pending.write_text(f"/etc/ufw\n{paths}\n")
    arguments[arguments.index(PENDING)] = str(pending)

    busctl = f"case $1 in get-property) echo '{checkpoints}' ;; esac"
    done = run(arguments, tmp_path, busctl=busctl, smart_meter_guard="")

    assert (done.returncode == 0) is continued
    calls = (tmp_path / "calls").read_text()
    assert (
        "CheckpointAdjustRollbackTimeout ou /org/freedesktop/NetworkManager/Checkpoint/7 180" in calls
    ) is (continued)
    assert ("smart-meter-guard rearm network 285" in calls) is continued
    assert done.stdout == ("/org/freedesktop/NetworkManager/Checkpoint/7\n" if continued else "")


def test_a_rollback_names_another_host_that_has_the_address() -> None:
    task = task_of("roll_back.yml", "Roll back | Report that the Pi is as it was")
    facts = {"__network_reason": "no", "inventory_hostname": "pi-north", "ansible_host": "192.168.2.100"}

    def message(answer: dict[str, Any]) -> str:
        now = templar(**SITE, **facts, **task["vars"], __network_asked_neighbours=answer)
        return str(now.template(task["ansible.builtin.fail"]["msg"]))

    answer = {"rc": 0, "stdout": '{"192.168.1.100": "02:00:00:00:00:07"}'}
    assert "wrong: no. Another host has 192.168.1.100: 02:00:00:00:00:07. Check network_" in message(answer)
    for nothing in ({"rc": 0, "stdout": "{}"}, {"rc": 1, "msg": "no"}, {"rc": 0, "stdout": '{"x": "\x1b"}'}):
        assert "wrong: no. Check network_" in message(nothing)


@pytest.mark.parametrize(
    ("stdout", "ok", "found"),
    [
        (
            "{uuid}\n--\nsmart-meter-control\n{uuid}\n192.168.2.100/24",
            True,
            "smart-meter-control 192.168.2.100/24",
        ),
        ("{uuid}\n--\noffice\n{other}\n192.168.2.100/24", False, "office 192.168.2.100/24"),
        (
            "{uuid}\n--\nsmart-meter-control\n{other}\n192.168.2.100/24",
            False,
            "smart-meter-control 192.168.2.100/24 (another profile of that name)",
        ),
        ("--\nsmart-meter-control\n\n192.168.2.100/24", False, "smart-meter-control 192.168.2.100/24"),
        ("{uuid}\n--\n", False, "no such interface, or no profile runs"),
        (
            "{uuid}\n--\nsmart-meter-control\n{uuid}\n192.168.2.7/24",
            False,
            "smart-meter-control 192.168.2.7/24",
        ),
    ],
)
def test_verify_asks_for_our_profile_by_its_uuid(stdout: str, ok: bool, found: str) -> None:
    task = task_of("verify.yml", "Verify | Record the checks")
    zone = value("__network_zones", preflight_look=running())[1]
    item = {"item": zone, "stdout": stdout.format(uuid=UUID, other=NETPLAN["uuid"])}

    now = templar(**SITE, **task["vars"], item=item, inventory_hostname="pi-north")
    check = now.template(task["vars"]["__network_check"])

    assert (check["ok"], check["found"]) == (ok, found)


@pytest.mark.parametrize(
    ("differs", "continued", "shown", "expected"),
    [
        ([COPY, CONFIRMED], "", {}, []),
        ([FIELD], "", {}, ["field"]),
        (["/etc/NetworkManager/conf.d/90-smart-meter.conf"], "", {}, ["field", "control"]),
        ([], "/org/x/Checkpoint/1", {}, ["field", "control"]),
        ([], "", {"control": NETPLAN["uuid"]}, ["control"]),
    ],
)
def test_only_profiles_that_changed_or_do_not_run_are_activated(
    differs: list[str], continued: str, shown: dict[str, str], expected: list[str]
) -> None:
    task = task_of("change.yml", "Change | Note which profiles to activate")
    zones = value("__network_zones", preflight_look=running())
    results = [
        {"item": zone, "stdout_lines": [shown.get(zone["name"], zone["uuid"]), zone["address"]]}
        for zone in zones
    ]
    now = templar(
        **SITE,
        **task["vars"],
        preflight_look=running(),
        __network_differs=differs,
        __network_continued=continued,
        __network_devices={"results": results},
    )

    activated = now.template(task["ansible.builtin.set_fact"]["__network_to_activate"])
    assert [zone["name"] for zone in activated] == expected
