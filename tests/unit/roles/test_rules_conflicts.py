"""What others have set up on a Pi, and provisioning can't work beside."""

from __future__ import annotations

from typing import Any

import pytest
from roles.preflight.rules.conflicts import conflicts
from roles.preflight.rules.look import Device
from roles.preflight.rules.problem import show_key
from tests.unit.roles.looks import look

VALUES: dict[str, Any] = {
    "network_field_interface": "wlan0",
    "network_control_interface": "eth0",
    "appliance_ntp_servers": [],
    "concentrator_port": 502,
    "firewall_ssh_port": 22,
    "firewall_extra_rules": [],
}


def problems_of(changes: dict[str, Any], **values: Any) -> list[str]:
    found = conflicts(look(changes), {**VALUES, **values})
    return [f"{show_key(each.key)}: {each.message}" if each.key else each.message for each in found]


def sysctl(key: str, *files: tuple[str, str]) -> dict[str, Any]:
    return {"sysctl_files": {key: [list(each) for each in files]}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"port": ""},
        {"port": "smart-meter"},
        # A process that ended while the look was taken.
        {"port": "a process (pid 0)"},
        {"connection": ""},
        {"time_daemon": "chrony"},
        {"time_daemon": ""},
        {"nm.devices": {}},
        # A virtual Pi, and the appliance's own image.
        {"root": {"overlay": True, "volatile": False, "why": "", "ours": False}},
        {"root": {"overlay": False, "volatile": False, "why": "", "ours": True}},
        # Ours comes after these, has the same values, or does not care.
        sysctl("net.ipv4.ip_forward", ("/etc/sysctl.d/99-x.conf", "1")),
        sysctl("net.ipv4.ip_forward", ("/etc/sysctl.d/zz-smart-meter.conf", "0")),
        sysctl("net.ipv4.ip_forward", ("/etc/sysctl.d/zzz.conf", "0")),
        sysctl("net.ipv4.conf.*.rp_filter", ("/usr/lib/sysctl.d/50-default.conf", "2")),
        sysctl("net/ipv4/conf/wlan0/rp_filter", ("/etc/sysctl.d/99-x.conf", "0")),
        sysctl("net/ipv4/conf/usb0/rp_filter", ("/etc/sysctl.d/zzz.conf", "0")),
        sysctl("net.ipv4.tcp_syncookies", ("/etc/sysctl.d/zzz.conf", "0")),
    ],
)
def test_what_provisioning_works_beside_is_no_problem(changes: dict[str, Any]) -> None:
    assert problems_of(changes) == []


@pytest.mark.parametrize(
    ("why", "overlay", "words"),
    [
        ("boot=overlay", True, "/ is an overlay in memory (boot=overlay); sudo raspi-config"),
        ("a tmpfs", False, "/ is a tmpfs; sudo raspi-config"),
    ],
)
def test_a_root_in_memory_is_refused(why: str, overlay: bool, words: str) -> None:
    [problem] = problems_of({"root": {"overlay": overlay, "volatile": True, "why": why, "ours": False}})
    assert problem.startswith("loses all changes at the next restart: ")
    assert words in problem


def test_an_image_whose_state_is_in_memory_is_refused() -> None:
    root = {"overlay": False, "volatile": True, "why": "the state partition is not in use", "ours": True}
    [problem] = problems_of({"root": root})
    assert problem.startswith(
        "loses all changes at the next restart: the state partition is not in use; replace"
    )


def test_a_port_that_another_program_has_is_refused_with_its_name() -> None:
    [problem] = problems_of({"port": "nginx (pid 99)"})
    assert problem == (
        "concentrator_port: port 502 is taken by nginx (pid 99); stop it and disable its unit, or give the "
        "concentrator another port"
    )


def test_the_port_that_ssh_uses_has_to_be_admitted() -> None:
    changes = {"connection": "192.168.2.5 51234 192.168.2.100 2222"}
    [problem] = problems_of(changes)
    assert problem == (
        "firewall_ssh_port: this controller connects to the Pi's port 2222, and the firewall would admit 22; "
        "set firewall_ssh_port: 2222"
    )
    assert problems_of(changes, firewall_ssh_port=2222) == []
    assert problems_of(changes, firewall_extra_rules=[{"port": 2222}]) == []


@pytest.mark.parametrize("daemon", ["chrony", "ntpsec"])
def test_time_servers_for_another_daemon_are_refused(daemon: str) -> None:
    [problem] = problems_of({"time_daemon": daemon}, appliance_ntp_servers=["192.168.2.1"])
    assert problem.startswith(f"appliance_ntp_servers: {daemon} sets this Pi's clock")
    assert problem.endswith(f"or sudo apt purge {daemon}")


def unmanaged(reason: str, files: list[str]) -> dict[str, Any]:
    device = Device(False, 10, reason, "", "", "", [], "", "dc:a6:32:01:02:03")
    fields = {name: getattr(device, name) for name in Device.__dataclass_fields__}
    return {"nm.devices": {"eth0": fields}, "nm.unmanaged_by": {"eth0": files, "wlan0": []}}


def test_an_interface_that_networkmanager_does_not_manage_is_refused_with_the_cause() -> None:
    assert problems_of(unmanaged("", ["/etc/network/interfaces"])) == [
        "network_control_interface: NetworkManager does not manage eth0 (by /etc/network/interfaces); "
        "remove it there, and restart the Pi"
    ]
    assert problems_of(unmanaged("74 (by the user)", [])) == [
        "network_control_interface: NetworkManager does not manage eth0 (74 (by the user)); "
        "sudo nmcli device set eth0 managed yes"
    ]


@pytest.mark.parametrize(
    ("key", "file", "value"),
    [
        ("net.ipv4.ip_forward", "/etc/sysctl.d/zzz.conf", "1"),
        ("net.ipv4.conf.*.accept_redirects", "/run/sysctl.d/zzz.conf", "1"),
        ("net.ipv4.conf.all.rp_filter", "/etc/sysctl.d/zzz.conf", "2"),
        ("net/ipv4/conf/wlan0/rp_filter", "/etc/sysctl.d/zzz.conf", "2"),
        # systemd-sysctl leaves what is named for an interface out of a pattern.
        ("net.ipv4.conf.eth0.accept_redirects", "/etc/sysctl.d/10-x.conf", "1"),
        ("net/ipv6/conf/eth0.10/accept_redirects", "/etc/sysctl.d/10-x.conf", "1"),
        ("net.ipv4.conf.usb0.forwarding", "/usr/lib/sysctl.d/10-x.conf", "1"),
    ],
)
def test_a_file_that_overrides_the_kernels_settings_is_refused_by_name(
    key: str, file: str, value: str
) -> None:
    [problem] = problems_of(sysctl(key, (file, value)))
    assert problem.startswith(f"{file} sets {key} = {value} ")
    assert problem.endswith("which overrides them; remove that line")
