"""A card as a whole: forms of the texts, profiles, zones, login and firewall."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smart_meter.site_card.card import Card, CardError
from smart_meter.site_card.checks import check
from smart_meter.site_card.keyfile import NO_PSK
from smart_meter.site_card.places import BY_KEY, NOT_ON_AN_IMAGE, OF_THE_IMAGE, PLACES, masked
from tests.unit.roles.site import REPOSITORY
from tests.unit.site_card.sample import GOLDEN, KEY, PASSPHRASE, RULES, card, edited, files


def problems(bad: Card) -> list[str]:
    with pytest.raises(CardError) as error:
        check(bad)
    return [str(problem).removeprefix("site-card.toml: ") for problem in error.value.problems]


def test_the_good_card_is_good() -> None:
    checked = check(card())

    assert [str(profile.address) for profile in checked.profiles] == ["192.168.1.100/24", "192.168.2.100/24"]
    assert checked.config.server.port == 502


def test_a_socket_without_its_service_is_refused() -> None:
    unit = (GOLDEN / "etc/systemd/system/smart-meter.socket").read_text(encoding="utf-8")

    [found] = problems(card({"socket": unit}))

    assert found.startswith("files.socket: does not fit files.service: both are for one way to the port")


@pytest.mark.parametrize(
    "place", [place for place in PLACES if place.masks is not None], ids=lambda place: place.key
)
def test_a_line_that_no_template_writes_is_refused(place: object) -> None:
    key = place.key  # type: ignore[attr-defined]
    text = files().get(key) or (GOLDEN / BY_KEY[key].path.lstrip("/")).read_text(encoding="utf-8")

    for changed in (f"{text}ExecStart=/bin/evil\n", text.replace(" ", " \\\n", 3), f"{text[:-1]} \n"):
        found = problems(card({key: changed}))
        assert any(problem.startswith(f"files.{key}: is not a text that this release's") for problem in found)


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        (
            "service",
            "IPAddressAllow=localhost 192.168.1.0/24 192.168.2.0/24",
            "IPAddressAllow=localhost 10.1.0.0/16",
        ),
        ("service", "RestartSec=1s", "RestartSec=2.5s"),
        ("journal", "SystemMaxUse=1G", "SystemMaxUse=200M"),
        ("watchdog", "RuntimeWatchdogSec=15", "RuntimeWatchdogSec=off"),
        ("wifi_country", "regdom=DE", "regdom=AT"),
        ("wifi_program", "interface=wlan0", "interface=wlan1"),
        ("updates", 'Unattended-Upgrade "1"', 'Unattended-Upgrade "0"'),
    ],
)
def test_what_differs_from_pi_to_pi_may_differ(key: str, old: str, new: str) -> None:
    check(edited(key, old, new))


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("service", "User=smart-meter", "User=root"),
        ("service", "RestartSec=1s", "RestartSec=1s\nExecStartPre=/bin/evil"),
        ("service", "IPAddressAllow=localhost", "IPAddressAllow=any"),
        ("wifi_program", "interface=wlan0", "interface=$(evil)"),
        ("wifi_country", "regdom=DE", "regdom=DE swiotlb=1"),
        ("kernel", "net.ipv4.ip_forward = 0", "net.ipv4.ip_forward = 1"),
        ("network_confirmed", "allowed-connections=uuid:", "allowed-connections=id:"),
    ],
)
def test_what_does_not_may_not(key: str, old: str, new: str) -> None:
    assert f"files.{key}: is not a text" in problems(edited(key, old, new))[0]


@pytest.mark.parametrize(
    ("key", "old", "new", "expected"),
    [
        (
            "field_profile",
            "address1=192.168.1.100/24",
            "address1=192.168.1.7/24",
            "files.config: zone field has 192.168.1.100 in 192.168.1.0/24, and the profile of its interface "
            "wlan0 has 192.168.1.7/24",
        ),
        (
            "field_profile",
            "address1=192.168.1.100/24",
            "address1=192.168.1.100/16",
            "files.control_profile: has the interface or the network of the field zone",
        ),
        (
            "config",
            'address = "192.168.1.100"',
            'address = "192.168.9.100"',
            "files.config.zones[0].address: 192.168.9.100 is not in the zone",
        ),
        (
            "field_profile",
            "address1=192.168.1.100/24",
            "address1=192.168.1.300/24",
            'files.field_profile.ipv4.address1: "192.168.1.300/24" is not an IPv4 address',
        ),
        (
            "field_profile",
            "may-fail=false",
            "gateway=192.168.7.1\nmay-fail=false",
            "files.field_profile.ipv4.gateway: 192.168.7.1 is not in the zone's network 192.168.1.0/24",
        ),
        (
            "control_profile",
            "interface-name=eth0",
            "interface-name=wlan0",
            "files.control_profile: has the interface or the network of the field zone",
        ),
        (
            "field_profile",
            "method=disabled",
            "method=auto",
            "files.field_profile.ipv6.method: \"auto\" can't be used in a zone's profile",
        ),
        (
            "field_profile",
            "[ipv6]",
            "[proxy]\nmethod=1\n[ipv6]",
            'files.field_profile.proxy.method: "method=1" is not a line of a zone\'s profile',
        ),
        (
            "control_profile",
            "method=manual",
            "method=manual\nmethod=manual",
            "files.control_profile.ipv4.method: is there twice",
        ),
        (
            "control_profile",
            "id=smart-meter-control",
            "id=smart-meter-field",
            'files.control_profile.connection.id: "smart-meter-field" is not smart-meter-control',
        ),
        ("field_profile", "key-mgmt=wpa-psk\n", "", "files.field_profile.wifi-security.key-mgmt: is missing"),
        (
            "control_profile",
            "[ipv6]",
            "[wifi]\nssid=97;\n[ipv6]",
            "files.control_profile.wifi.ssid: does not belong to a profile of the type ethernet",
        ),
        ("field_profile", "ssid=110;", "ssid=999;", "files.field_profile.wifi.ssid: "),
        ("config", "port = 502", 'port = "502"', 'files.config.server.port: "502" is not an integer'),
        ("config", "port = 502", "prot = 502", "files.config.server.prot: is an unknown key"),
        ("host_name", "pi-north", "pi north", 'files.host_name: "pi north" is not a host name'),
        (
            "sshd",
            "AllowUsers pi",
            "AllowUsers operator",
            'files.sshd: does not let the user "pi" of login.user log in',
        ),
        (
            "sshd",
            "MaxAuthTries 3",
            "PermitEmptyPasswords yes",
            'files.sshd: "PermitEmptyPasswords yes" is not a line',
        ),
    ],
)
def test_a_text_that_does_not_fit_is_refused(key: str, old: str, new: str, expected: str) -> None:
    found = problems(edited(key, old, new))

    assert any(problem.startswith(expected) for problem in found), found


def test_a_passphrase_in_a_profile_is_refused_and_not_shown() -> None:
    secret = "-".join(["correct", "horse"])

    found = problems(edited("field_profile", NO_PSK, f"psk={secret}"))

    assert found[0].startswith("files.field_profile.wifi-security.psk: its value can't be used")
    assert secret not in " ".join(found)


def test_the_files_of_the_wifi_come_together() -> None:
    assert "files.wifi_unit: is there without files.wifi_country" in problems(card({"wifi_country": None}))[0]


def test_a_profile_with_wifi_needs_its_files() -> None:
    without = card(dict.fromkeys(("wifi_unit", "wifi_program", "wifi_country")))

    assert "files.wifi_unit: does not fit the zones' profiles" in problems(without)[0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "ufw deny from any to any port 22 proto tcp comment 'x'",
            "is not a rule as the role firewall writes it",
        ),
        ("ufw allow from any to any port 22 proto tcp comment 'x' ; reboot", "is not a rule"),
        ("ufw allow from any to any port 22 proto tcp comment 'it's'", "is not a rule"),
        ("ufw allow from 192.168.1.7/24 to any port 22 proto tcp comment 'x'", "has host bits set"),
        (
            "ufw allow from 192.168.300.0/24 to any port 22 proto tcp comment 'x'",
            "is not a network or an address",
        ),
        ("ufw allow from any to any port 70000 proto tcp comment 'x'", "has a port that is not 1 to 65535"),
    ],
)
def test_a_rule_that_the_role_does_not_write_is_refused(rule: str, expected: str) -> None:
    [found] = problems(card(firewall=(*RULES, rule)))

    assert found.startswith("firewall[3]: ")
    assert expected in found


def test_rules_that_shut_out_a_zone_are_refused() -> None:
    assert (
        "firewall: has no rule that admits 192.168.1.0/24 to port 502"
        in problems(card(firewall=RULES[1:]))[0]
    )


def test_keys_are_needed_where_ssh_accepts_only_keys() -> None:
    assert "login.keys: is empty" in problems(card(keys=()))[0]
    check(card({"sshd": None}, keys=()))


def test_keys_or_a_password_are_needed() -> None:
    without = card({"sshd": None}, keys=(), sudo_asks=False, secrets={"passphrase": PASSPHRASE})

    assert "nobody could log in" in problems(without)[0]
    check(replace(without, keys=(KEY,)))


def test_what_ansible_writes_first_into_each_file_may_differ() -> None:
    for place in PLACES:
        if place.masks and place.key in files():
            text = files()[place.key]
            assert masked(place, text.replace("Managed by Ansible", "ours", 1)) == masked(place, text), (
                place.key
            )


def test_every_template_is_of_a_card_or_of_the_image() -> None:
    paths = {
        f"/{path.relative_to(REPOSITORY / 'templates')}"[:-3]
        for path in (REPOSITORY / "templates").rglob("*.j2")
    }
    paths.remove("/etc/NetworkManager/system-connections/smart-meter.nmconnection")

    known = {place.path for place in PLACES} | OF_THE_IMAGE | NOT_ON_AN_IMAGE

    assert paths <= known
    assert known - paths == {
        "/etc/hostname",
        *(BY_KEY[key].path for key in ("field_profile", "control_profile")),
    }
