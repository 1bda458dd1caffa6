"""The kernel's settings for forwarding, redirects, source routes and filters, as they are in force."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from smart_meter.doctor import kernel

ZONES = ("wlan0", "eth0")
# The effect of templates/etc/sysctl.d/zz-smart-meter.conf.j2.
REFUSING = {
    "ipv4": {
        "forwarding": 0,
        "accept_redirects": 0,
        "send_redirects": 0,
        "accept_source_route": 0,
        "rp_filter": 1,
    },
    "ipv6": {"forwarding": 0, "accept_redirects": 0, "accept_source_route": 0},
}


@pytest.fixture
def sysctl(tmp_path: Path) -> Path:
    """A kernel's settings, in files as under /proc/sys/net."""
    for family, keys in REFUSING.items():
        for interface in ("all", "default", "lo", *ZONES, "uplink0"):
            for key, value in keys.items():
                put(tmp_path, f"{family}/{interface}/{key}", value)
    return tmp_path


def put(sysctl: Path, path: str, value: int) -> None:
    family, interface, key = path.split("/")
    file = sysctl / family / "conf" / interface / key
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{value}\n")


def wrong(sysctl: Path) -> dict[str, str]:
    return {each.name: each.found for each in kernel.examine(ZONES, sysctl) if not each.ok}


def test_a_provisioned_pi_is_good(sysctl: Path) -> None:
    assert wrong(sysctl) == {}
    assert [each.found for each in kernel.examine(ZONES, sysctl)] == [
        "off",
        "off",
        "refused",
        "off",
        "refused",
        "strict on the zones' interfaces",
    ]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        # "all" refuses, but the interface accepts nevertheless.
        ("ipv4/eth0/accept_redirects", {"ICMP redirects": "accepted: eth0 (IPv4)"}),
        ("ipv6/eth0/accept_redirects", {"ICMP redirects": "accepted: eth0 (IPv6)"}),
        ("ipv4/uplink0/accept_redirects", {"ICMP redirects": "accepted: uplink0 (IPv4)"}),
        ("ipv4/default/accept_redirects", {"ICMP redirects": "accepted: an interface that is added (IPv4)"}),
        ("ipv6/default/accept_redirects", {"ICMP redirects": "accepted: an interface that is added (IPv6)"}),
        ("ipv4/wlan0/send_redirects", {"ICMP redirects of its own": "sent: wlan0 (IPv4)"}),
        ("ipv4/eth0/forwarding", {"routing (IPv4)": "on: eth0 (IPv4)"}),
        # These have no effect by themselves.
        ("ipv6/all/accept_redirects", {}),
        ("ipv6/eth0/forwarding", {}),
        ("ipv4/all/accept_source_route", {}),
        ("ipv4/eth0/accept_source_route", {}),
        ("ipv6/all/accept_source_route", {}),
        ("ipv6/eth0/accept_source_route", {}),
    ],
)
def test_one_setting_that_is_on(sysctl: Path, path: str, found: dict[str, str]) -> None:
    put(sysctl, path, 1)
    assert wrong(sysctl) == found


def test_the_value_for_all_interfaces_applies_where_the_kernel_defines_it_so(sysctl: Path) -> None:
    put(sysctl, "ipv4/all/accept_redirects", 1)
    put(sysctl, "ipv6/all/forwarding", 1)
    found = wrong(sysctl)
    assert found["ICMP redirects"].count("(IPv4)") == 5
    assert found["routing (IPv6)"].count("(IPv6)") == 5


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_source_route_is_accepted_if_both_values_accept_it(sysctl: Path, family: str) -> None:
    put(sysctl, f"{family}/all/accept_source_route", 1)
    put(sysctl, f"{family}/eth0/accept_source_route", 1)
    assert list(wrong(sysctl)) == ["source routes"]
    put(sysctl, f"{family}/eth0/accept_source_route", -1)
    assert (wrong(sysctl) == {}) is (family == "ipv6"), "less than 0 is a value of IPv6's"


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("ipv4/wlan0/rp_filter", 2, "loose on wlan0"),
        ("ipv4/all/rp_filter", 2, "loose on eth0, loose on wlan0"),
        ("ipv4/uplink0/rp_filter", 2, None),
        ("ipv4/wlan0/rp_filter", 0, None),
        ("ipv4/lo/rp_filter", 2, None),
    ],
)
def test_the_larger_of_two_filter_values_applies(
    sysctl: Path, path: str, value: int, found: str | None
) -> None:
    put(sysctl, path, value)
    assert wrong(sysctl).get("reverse path filter") == found


def test_a_filter_that_is_off_is_found(sysctl: Path) -> None:
    put(sysctl, "ipv4/all/rp_filter", 0)
    put(sysctl, "ipv4/uplink0/rp_filter", 0)
    assert wrong(sysctl) == {"reverse path filter": "off on uplink0"}


def test_a_kernel_without_ipv6_and_a_missing_interface_of_a_zone_are_no_errors(sysctl: Path) -> None:
    (sysctl / "ipv6").rename(sysctl / "gone")
    (sysctl / "ipv4/conf/wlan0").rename(sysctl / "unplugged")
    assert wrong(sysctl) == {}


def test_it_runs_without_the_package_as_the_playbooks_run_it() -> None:
    source = Path(kernel.__file__).read_text()
    done = subprocess.run(
        [sys.executable, "-I", "-", *ZONES], input=source, check=True, capture_output=True, text=True
    )
    assert {"name", "found", "expected", "ok", "key"} == set(json.loads(done.stdout)[0])
