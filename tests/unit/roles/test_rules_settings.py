"""Secrets, Wi-Fi, host name, time zone, intervals."""

from __future__ import annotations

import zoneinfo
from pathlib import Path
from typing import Any

import pytest
from roles.preflight.rules.countries import COUNTRIES, MEANT
from roles.preflight.rules.problem import show_key
from roles.preflight.rules.secrets import check_sudo, check_wifi
from roles.preflight.rules.settings import check_settings

WIFI: dict[str, Any] = {
    "network_field_type": "wifi",
    "network_field_ssid": "north-field",
    "network_field_psk": "correct-horse",
    "network_field_key_mgmt": "wpa-psk",
    "network_country": "DE",
}
PASSPHRASES = "8 to 63 printable ASCII characters or 64 hexadecimal digits"


def problems_of(problems: Any) -> list[str]:
    return [f"{show_key(found.key)}: {found.message}" for found in problems]


def wifi(**changes: Any) -> list[str]:
    return problems_of(check_wifi({**WIFI, **changes}))


def test_a_whole_wifi_passes() -> None:
    assert wifi() == []


def test_a_wired_field_zone_needs_none_of_it() -> None:
    assert problems_of(check_wifi({"network_field_type": "ethernet", "network_field_psk": ""})) == []


def test_a_wifi_needs_name_passphrase_and_country() -> None:
    assert [line.split(",")[0].split(";")[0] for line in wifi(
        network_field_ssid="", network_field_psk="", network_country=""
    )] == [
        "network_field_ssid: is missing",
        "network_field_psk: is missing",
        "network_country: is missing",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["ab", "n" * 32, "ä" * 16, "north field"])
def test_a_wifis_name_has_up_to_32_bytes(name: str) -> None:
    assert wifi(network_field_ssid=name) == []


def test_a_wifis_name_is_measured_in_bytes() -> None:
    assert wifi(network_field_ssid="ä" * 17) == [
        f'network_field_ssid: "{"ä" * 17}" is 34 bytes long; a Wi-Fi\'s name has 1 to 32'
    ]
    assert len(wifi(network_field_ssid="north\n")) == 1


@pytest.mark.parametrize(
    "passphrase", ["12345678", "p" * 63, "with blanks inside", "0123456789abcdefABCDEF" * 2 + "0" * 20]
)
def test_a_passphrase_of_the_right_length_passes(passphrase: str) -> None:
    assert wifi(network_field_psk=passphrase) == []


@pytest.mark.parametrize("passphrase", ["seven77", "p" * 64, "umläute-wpa", "line\nbreak-in", "f" * 65])
def test_a_malformed_passphrase_is_refused_and_not_shown(passphrase: str) -> None:
    assert wifi(network_field_psk=passphrase) == [
        f"network_field_psk: is malformed (its value is not shown); give {PASSPHRASES}"
    ]


def test_wpa3_alone_takes_no_raw_key() -> None:
    [line] = wifi(network_field_psk="f" * 64, network_field_key_mgmt="sae")
    assert line.endswith("give 8 to 63 printable ASCII characters")


@pytest.mark.parametrize("country", ["de", "DEU", "Germany", "D1"])
def test_a_country_is_two_capital_letters(country: str) -> None:
    assert wifi(network_country=country) == [
        f'network_country: "{country}" is not a country code; '
        "give two capital letters of ISO 3166, such as DE"
    ]


@pytest.mark.parametrize(
    ("country", "fix"),
    [
        ("UK", "did you mean GB?"),
        ("XX", "give two capital letters of ISO 3166, such as DE"),
        ("EU", "give two capital letters of ISO 3166, such as DE"),
    ],
)
def test_a_country_is_one_that_exists(country: str, fix: str) -> None:
    assert wifi(network_country=country) == [
        f'network_country: "{country}" is not the code of a country; {fix}'
    ]


def test_the_countries_are_those_of_the_time_zone_database() -> None:
    table = next((path for base in zoneinfo.TZPATH if (path := Path(base) / "iso3166.tab").exists()), None)
    if table is None:
        pytest.skip("there is no time zone database here")
    lines = table.read_text(encoding="utf-8").splitlines()
    assert {line[:2] for line in lines if not line.startswith("#")} == COUNTRIES
    assert set(MEANT.values()) <= COUNTRIES
    assert not set(MEANT) & COUNTRIES


@pytest.mark.parametrize(
    "values",
    [
        {"ansible_become_password": "x"},
        {"ansible_become_pass": "x"},
        {"preflight_sudo_asks": False},
        {"ansible_user": "root"},
    ],
)
def test_sudo_is_provided_for(values: dict[str, Any]) -> None:
    assert problems_of(check_sudo(values, asked_for=False)) == []


def test_sudo_is_provided_for_by_hand() -> None:
    assert problems_of(check_sudo({"ansible_user": "pi"}, asked_for=True)) == []


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({}, "is missing"),
        ({"ansible_become_password": ""}, "is missing"),
        ({"ansible_become_password": None}, "is missing"),
        ({"ansible_become_password": 31415926}, "is not text to YAML (its value is not shown)"),
    ],
)
def test_sudo_is_not_provided_for(values: dict[str, Any], wrong: str) -> None:
    [line] = problems_of(
        check_sudo({"preflight_sudo_asks": True, "ansible_user": "pi", **values}, asked_for=False)
    )
    assert line.startswith(f"ansible_become_password: {wrong}")
    assert "31415926" not in line


SETTINGS: dict[str, Any] = {
    "appliance_hostname": "pi-north",
    "appliance_timezone": "Etc/UTC",
    "appliance_ntp_servers": ["time.example", "192.168.2.1"],
    "appliance_journal_max_use": "1G",
    "appliance_unattended_reboot_time": "",
    "appliance_watchdog_seconds": 15,
    "concentrator_history_path": "/var/lib/smart-meter/history.db",
}


def test_a_watchdog_that_is_off_has_no_time() -> None:
    off = {**SETTINGS, "appliance_watchdog_off": True}
    [line] = problems_of(check_settings(off))
    assert line.startswith("appliance_watchdog_off: contradicts appliance_watchdog_seconds")
    assert problems_of(check_settings({**off, "appliance_watchdog_seconds": 0})) == []


def test_good_settings_pass() -> None:
    assert problems_of(check_settings(SETTINGS)) == []
    assert problems_of(check_settings({})) == []


@pytest.mark.parametrize("path", ["", "/mnt/usb/smart-meter/history.db", "/srv/meter-1/history.v2.db"])
def test_a_history_may_be_left_out_or_kept_on_another_disk(path: str) -> None:
    assert problems_of(check_settings({**SETTINGS, "concentrator_history_path": path})) == []


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("appliance_hostname", "pi_north", '"pi_north" is not a host name'),
        ("appliance_hostname", "p" * 64, "is not a host name; give letters, digits and hyphens, 63 at most"),
        ("appliance_hostname", "p" * 64 + ".x", "is not a host name"),
        ("appliance_hostname", "pi.", "is not a host name"),
        ("appliance_hostname", "192.168.2.100", "is read as an address"),
        (
            "appliance_hostname",
            "pi-north.example",
            '"pi-north.example" has a dot, and a Pi\'s own name has no domain; '
            "give its first part (appliance_hostname: pi-north)",
        ),
        (
            "appliance_hostname",
            "LocalHost",
            '"LocalHost" is the name of every machine for itself; give this Pi a name of its own',
        ),
        ("appliance_hostname", "ip6-loopback", "is the name of every machine for itself"),
        ("appliance_hostname", "12", '"12" is read as an address; give a name with a letter, such as pi-12'),
        ("appliance_hostname", "0x7f", '"0x7f" is read as an address'),
        ("appliance_hostname", "", '"" is not a host name'),
        (
            "appliance_timezone",
            "Europe/Berlinn",
            '"Europe/Berlinn" is not a time zone; did you mean Europe/Berlin?',
        ),
        ("appliance_timezone", "", '"" is not a time zone; give one of'),
        ("appliance_ntp_servers", ["ok", "no_pe"], '"no_pe" is neither a host name nor an address'),
        ("appliance_ntp_servers", ["192.168.2"], '"192.168.2" is neither a host name nor an address'),
        ("appliance_journal_max_use", "200 MB", '"200 MB" is not a size; give one such as 1G'),
        ("appliance_journal_max_use", "0", '"0" is not a size'),
        ("appliance_unattended_reboot_time", "24:00", '"24:00" is not a time of day'),
        ("appliance_unattended_reboot_time", "3:30", '"3:30" is not a time of day'),
        ("appliance_watchdog_seconds", 16, "16 is out of range; give 0 to 15"),
        ("network_confirm_seconds", 20, "20 is out of range; give 45 to 900"),
        ("concentrator_releases_kept", 0, "0 is out of range; give 1 to 100"),
        ("concentrator_history_path", "/var/lib/history.db", "give a file in a folder of its own"),
        (
            "concentrator_history_path",
            "/home/pi/history.db",
            '"/home/pi/history.db" is not a place for the history',
        ),
        ("concentrator_history_path", "/srv/my data/history.db", "is not a place for the history"),
        ("concentrator_history_path", "/srv/meter/../history.db", "is not a place for the history"),
        ("concentrator_events_path", "/home/pi/events.db", "is not a place for the audit trail"),
    ],
)
def test_bad_settings_are_refused(name: str, value: object, line: str) -> None:
    [found] = problems_of(check_settings({**SETTINGS, name: value}))
    assert found.startswith(name)
    assert line in found
