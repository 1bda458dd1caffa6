"""What the doctor takes from the output of other programs, and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_meter.doctor import facts, network_facts
from smart_meter.doctor.network import Device

UUID = "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03"
SHOWN = f"""\
GENERAL.DEVICE:eth0
GENERAL.STATE:100 (connected)
GENERAL.REASON:0 (No reason given)
GENERAL.CONNECTION:Büro: oben
GENERAL.CON-UUID:{UUID}

GENERAL.DEVICE:wlan0
GENERAL.STATE:10 (unmanaged)
GENERAL.REASON:71 (The device is unmanaged by user decision)
GENERAL.CONNECTION:--
GENERAL.CON-UUID:--
"""


def test_networkmanagers_devices() -> None:
    assert network_facts.parse_devices(SHOWN) == {
        "eth0": Device(100, "0 (No reason given)", "Büro: oben", UUID),
        "wlan0": Device(10, "71 (The device is unmanaged by user decision)"),
    }
    assert network_facts.parse_devices("") == {}
    assert network_facts.parse_devices("GENERAL.DEVICE:eth0\nGENERAL.STATE:\n") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [(f"[connection]\nuuid={UUID}\n", UUID), ("", ""), ("uuid=5fb06bd0", ""), (None, "")],
)
def test_the_uuid_of_our_profile(tmp_path: Path, text: str | None, expected: str) -> None:
    if text is not None:
        (tmp_path / "smart-meter-field.nmconnection").write_text(text)

    assert network_facts.own_profile("field", tmp_path) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("global\ncountry DE: DFS-ETSI\n\t(2400 - 2483 @ 40)\n\nphy#0\ncountry US: DFS-FCC\n", "DE"),
        ("global\ncountry DE: DFS-ETSI\n\nphy#0 (self-managed)\ncountry US: DFS-FCC\n", "US"),
        ("global\ncountry 00: DFS-UNSET\n", "00"),
        ("", ""),
    ],
)
def test_the_wifi_country_in_force(shown: str, expected: str) -> None:
    assert network_facts.parse_country(shown) == expected


@pytest.mark.parametrize(
    ("name", "text", "has"),
    [
        (
            "network-config",
            'wifis:\n  wlan0:\n    access-points:\n      "a":\n        password: "0123"\n',
            True,
        ),
        ("network-config", "network: {version: 2}\n# password: was here\n", False),
        ("wpa_supplicant.conf", 'network={\n  psk="12345678"\n}\n', True),
        ("user-data", 'password: "x"\n', False),
    ],
)
def test_files_with_a_wifi_passphrase(tmp_path: Path, name: str, text: str, has: bool) -> None:
    (tmp_path / name).write_text(text)

    assert facts.passphrases(tmp_path) == ([str(tmp_path / name)] if has else [])
