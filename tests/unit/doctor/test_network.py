"""Zones and firewall: what is judged good, what is not, and how to fix it."""

from dataclasses import replace

import pytest

from smart_meter.config import CONTROL_ZONE, FIELD_ZONE
from smart_meter.doctor.check import Level
from smart_meter.doctor.kernel import Finding
from smart_meter.doctor.network import (
    Device,
    Firewall,
    Interface,
    judge_address,
    judge_country,
    judge_firewall,
    judge_kernel,
    judge_profile,
    judge_zone,
)

WLAN = Interface("wlan0", up=True, carrier=True, addresses=("192.168.1.100/24",))
UUID, OTHER = "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03", "0d3b71e1-15f2-7a57-98d5-0d43e0a1e2aa"
OURS = Device(100, profile="smart-meter-field", uuid=UUID)
ZONES = (FIELD_ZONE, CONTROL_ZONE)
ACTIVE = "Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing), disabled (routed)\n"
FIELD_RULE = (
    "ufw allow in on wlan0 from 192.168.1.0/24 to 192.168.1.100 port 502 proto tcp comment 'Modbus TCP'"
)
CONTROL_RULE = "ufw allow in on eth0 from 192.168.2.0/24 to 192.168.2.100 port 502 proto tcp"


def test_an_interface_with_its_address_is_good() -> None:
    check = judge_zone(FIELD_ZONE, [WLAN])
    assert (check.name, check.found, check.level) == (
        "field zone, wlan0",
        "up with 192.168.1.100/24",
        Level.OK,
    )


@pytest.mark.parametrize(
    ("interface", "found", "fix"),
    [
        (replace(WLAN, addresses=()), "up with no address", "nmcli connection up smart-meter-field"),
        (replace(WLAN, addresses=("192.168.1.100/16",)), "up with 192.168.1.100/16", "nmcli device status"),
        (replace(WLAN, carrier=False), "no link", "check the cable"),
        (replace(WLAN, carrier=False, wireless=True), "no link", "nmcli device wifi list"),
        (replace(WLAN, up=False), "down", "sudo ip link set wlan0 up"),
        (replace(WLAN, up=False, blocked=True), "its radio is blocked", "sudo rfkill unblock wifi"),
        (replace(WLAN, name="eth7"), "no such interface; there are: eth7", "make provision"),
    ],
)
def test_an_interface_that_differs_from_its_zone_is_bad(interface: Interface, found: str, fix: str) -> None:
    check = judge_zone(FIELD_ZONE, [interface])
    assert (check.level, check.found) == (Level.BAD, found)
    assert fix in check.fix


def test_an_address_on_another_interface_is_named() -> None:
    check = judge_zone(FIELD_ZONE, [replace(WLAN, addresses=()), replace(WLAN, name="eth0")])
    assert check.found == "up with no address; 192.168.1.100/24 is on eth0"


def test_a_weak_signal_is_a_warning() -> None:
    weak = judge_zone(FIELD_ZONE, [replace(WLAN, wireless=True, signal=-86)])
    assert (weak.level, weak.found) == (Level.WARNING, "up with 192.168.1.100/24, signal -86 dBm")
    assert judge_zone(FIELD_ZONE, [replace(WLAN, wireless=True, signal=-60)]).level is Level.OK


def test_interfaces_that_cannot_be_seen_are_unknown() -> None:
    assert judge_zone(FIELD_ZONE, None).level is Level.UNKNOWN


@pytest.mark.parametrize("own", [UUID, None])
def test_our_profile_on_its_interface_is_good(own: str | None) -> None:
    """Without root, the file can't be read, and the name has to do."""
    check = judge_profile(FIELD_ZONE, {"wlan0": OURS, "eth0": Device(100, profile="office")}, own)
    assert (check.name, check.level) == ("field zone, profile", Level.OK)


@pytest.mark.parametrize(
    ("device", "own", "found", "fix"),
    [
        (
            Device(100, profile="office", uuid=OTHER),
            UUID,
            "office runs on wlan0 instead of smart-meter-field",
            "sudo nmcli connection up smart-meter-field",
        ),
        (
            Device(100, profile="office", uuid=OTHER),
            None,
            "office runs on wlan0 instead of smart-meter-field",
            "nmcli connection load",
        ),
        (
            replace(OURS, uuid=OTHER),
            UUID,
            "another profile named smart-meter-field runs on wlan0",
            "connection up",
        ),
        (Device(30), UUID, "no profile runs on wlan0", "connection up smart-meter-field"),
        (OURS, "", "smart-meter-field.nmconnection is missing or damaged", "make provision"),
        (
            Device(10, reason="71 (unmanaged by user decision)"),
            UUID,
            "does not manage wlan0: 71 (unmanaged by user decision)",
            "sudo nmcli device set wlan0 managed yes",
        ),
    ],
)
def test_an_interface_without_our_profile_is_bad(
    device: Device, own: str | None, found: str, fix: str
) -> None:
    check = judge_profile(FIELD_ZONE, {"wlan0": device}, own)
    assert check.level is Level.BAD
    assert found in check.found
    assert fix in check.fix


def test_without_networkmanager_the_profile_is_unknown() -> None:
    assert judge_profile(FIELD_ZONE, None, UUID).found == "NetworkManager does not answer"
    assert judge_profile(FIELD_ZONE, {}, UUID).level is Level.UNKNOWN


def test_another_host_with_the_address_is_bad_and_named_by_its_mac_address() -> None:
    check = judge_address(FIELD_ZONE, {"192.168.1.100": "02:00:00:00:00:07"})
    assert (check.name, check.level) == ("field zone, address", Level.BAD)
    assert check.found == "another host has 192.168.1.100: 02:00:00:00:00:07"
    assert "02:00:00:00:00:07" in check.fix
    assert judge_address(FIELD_ZONE, {"192.168.1.100": ""}).level is Level.OK
    for others in ({"192.168.2.100": "02:00:00:00:00:07"}, None):
        assert judge_address(FIELD_ZONE, others).level is Level.UNKNOWN


def test_another_wifi_country_than_the_provisioned_one_is_a_warning() -> None:
    assert judge_country("DE", "DE", "").level is Level.OK
    check = judge_country("DE", "00", "")
    assert (check.level, check.found, check.expected) == (Level.WARNING, "00", "DE")
    assert "ieee80211_regdom=GB from /boot/firmware/cmdline.txt" in judge_country("DE", "GB", "GB").fix


def test_a_kernel_setting_that_is_on_is_bad_with_its_key() -> None:
    key = "net.ipv4.conf.*.accept_redirects"
    good = Finding("ICMP redirects", "refused", "refused", ok=True, key=key)
    wrong = replace(good, found="accepted: eth0 (IPv4)", ok=False)
    [fine, bad] = judge_kernel([good, wrong])
    assert (fine.level, fine.fix) == (Level.OK, "")
    assert (bad.level, bad.found) == (Level.BAD, "accepted: eth0 (IPv4)")
    assert bad.fix.startswith("sudo systemctl restart systemd-sysctl; ")
    assert key in bad.fix


def rules(*added: str) -> list[tuple[Level, str]]:
    checks = judge_firewall(ZONES, 502, Firewall(ACTIVE, "\n".join(added), IN_FORCE), installed=True)
    assert checks[0].level is Level.OK
    return [(check.level, check.found) for check in checks[1:]]


@pytest.mark.parametrize(
    "added",
    [
        [FIELD_RULE, CONTROL_RULE],
        ["ufw allow 502/tcp comment 'Modbus TCP'"],
        ["ufw allow 502"],
        ["ufw allow from 192.168.0.0/16 to any port 500:510 proto tcp"],
        ["ufw deny 22/tcp", "ufw route deny 502/tcp", "ufw deny out 502/tcp", "ufw allow 80,502/tcp"],
        ["ufw deny from any port 502", "ufw deny from fe80::/10 to any port 502", "ufw allow 502/tcp"],
        ["Added user rules (see 'ufw status' for running firewall):", "ufw deny 'odd", "ufw allow 502/tcp"],
    ],
)
def test_rules_that_allow_both_zones_are_good(added: list[str]) -> None:
    assert rules(*added) == [(Level.OK, "502/tcp allowed")] * 2


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("", "no rule allows it"),
        (FIELD_RULE.replace("502", "5020"), "no rule allows it"),
        (FIELD_RULE.replace("wlan0", "eth0"), "no rule allows it"),
        (FIELD_RULE.replace("1.0/24", "1.0/25"), "no rule allows it"),
        (FIELD_RULE.replace("tcp", "udp"), "no rule allows it"),
        (f"ufw deny 502/tcp\n{FIELD_RULE}", "the first rule that applies is deny"),
    ],
)
def test_a_zone_that_is_not_allowed_is_bad_with_the_missing_rule(rule: str, found: str) -> None:
    [_, field] = judge_firewall([FIELD_ZONE], 502, Firewall(ACTIVE, rule, IN_FORCE), installed=True)
    assert (field.level, field.found) == (Level.BAD, found)
    assert "in on wlan0 from 192.168.1.0/24 to 192.168.1.100 port 502 proto tcp" in field.fix


def test_a_firewall_that_is_off_or_missing_is_bad() -> None:
    [off] = judge_firewall(ZONES, 502, Firewall("Status: inactive\n", "", None), installed=True)
    assert (off.level, off.fix) == (Level.BAD, "sudo ufw enable")
    [missing] = judge_firewall(ZONES, 502, None, installed=False)
    assert (missing.level, missing.found) == (Level.BAD, "ufw is not installed")


IN_FORCE = """\
-P INPUT DROP
-P FORWARD DROP
-P OUTPUT ACCEPT
-N ufw-before-input
-N ufw-user-input
-A INPUT -j ufw-before-logging-input
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-user-input -s 192.168.1.0/24 -d 192.168.1.100/32 -i wlan0 -p tcp -m tcp --dport 502 -j ACCEPT
"""


def in_force(rules: str | None, added: str = FIELD_RULE) -> tuple[Level, str]:
    check = judge_firewall([FIELD_ZONE], 502, Firewall(ACTIVE, added, rules), installed=True)[0]
    if check.level is Level.BAD:
        assert check.fix.startswith("sudo sh -c 'iptables -F && (iptables -X || true) && ufw reload'; ")
    return check.level, check.found


def test_rules_that_are_in_force_are_good() -> None:
    assert in_force(IN_FORCE) == (Level.OK, "active, incoming denied by default")


def test_rules_that_can_not_be_read_are_unknown() -> None:
    level, found = in_force(None)
    assert level is Level.UNKNOWN
    assert "iptables -S fails" in found


@pytest.mark.parametrize(
    ("line", "after", "found"),
    [
        ("-A INPUT -j ACCEPT", "-N ufw-user-input", "a rule before ufw's accepts everything"),
        (
            "-A ufw-user-input -j ACCEPT",
            "-A ufw-before-input -j ufw-user-input",
            "a rule among ufw's accepts everything",
        ),
    ],
)
def test_rules_that_are_bypassed_are_bad(line: str, after: str, found: str) -> None:
    rules = IN_FORCE.replace(f"{after}\n", f"{after}\n{line}\n")
    assert in_force(rules) == (Level.BAD, f"active, but not in force: {found}")


def test_a_rule_after_ufw_s_own_bypasses_nothing() -> None:
    assert in_force(f"{IN_FORCE}-A INPUT -j ACCEPT\n")[0] is Level.OK


@pytest.mark.parametrize(
    ("gone", "found"),
    [
        # iptables -F INPUT
        ("-A INPUT -j ufw-before-input", "nothing leads from INPUT to ufw-before-input"),
        ("-A ufw-before-input -j ufw-user-input", "nothing leads from ufw-before-input to ufw-user-input"),
        (IN_FORCE.splitlines()[-1], "the chain ufw-user-input is empty"),
        ("-P INPUT DROP", "INPUT accepts what no rule decides"),
    ],
)
def test_flushed_rules_are_bad_although_ufw_is_active(gone: str, found: str) -> None:
    assert in_force(IN_FORCE.replace(f"{gone}\n", "")) == (Level.BAD, f"active, but not in force: {found}")


def test_without_rules_an_empty_chain_is_right() -> None:
    assert in_force(IN_FORCE.replace(IN_FORCE.splitlines()[-1], ""), added="")[0] is Level.OK


def test_a_firewall_that_allows_everything_by_default_is_a_warning() -> None:
    open_ = Firewall(ACTIVE.replace("deny (incoming)", "allow (incoming)"), FIELD_RULE, None)
    assert judge_firewall([FIELD_ZONE], 502, open_, installed=True)[0].level is Level.WARNING


def test_for_a_user_who_may_not_query_ufw_the_firewall_is_unknown() -> None:
    [check] = judge_firewall(ZONES, 502, None, installed=True)
    assert check.level is Level.UNKNOWN
    assert "sudo " in check.fix
