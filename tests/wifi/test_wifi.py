"""The network role over the air: one story on one Pi with real radios, told in the order of the file."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.controller import ADDRESS, FIELD_ADDRESS, Controller, Played
from tests.virtual_pi import Lab
from tests.wifi import AccessPoint, RadioPi, Wifi, boot

pytestmark = pytest.mark.pi

NAME = "pi-radio"
PROFILE = "/etc/NetworkManager/system-connections/smart-meter-field.nmconnection"
WATCH = (Path(__file__).parent / "watch.py").read_text()
# 250 W, 260 W, 48.5 V, 5.36 A, 850 W/m², 45.6 °C, 2016-01-01T06:00:00Z.
EXAMPLE = ["250", "260", "485", "536", "850", "456", str(0x5686), str(0x1460)]
# How long the access point stays away: long enough for a profile that gives up to have given up.
AWAY_SECONDS = 60
# NetworkManager looks around at ever longer intervals, the longest two minutes.
BACK_SECONDS = 180


def passphrase() -> tuple[str, str]:
    """Return a passphrase with all that may go wrong on its way to the radio, and the part to search for."""
    token = secrets.token_hex(8)
    return token, f'{token} "$x" #;: \\end'


@dataclass
class Story:
    """The lab, its one Pi, the air around it, and the operator's laptop."""

    lab: Lab
    pi: RadioPi
    air: AccessPoint
    controller: Controller
    token: str

    def network(self, *arguments: str, check: bool = True) -> Played:
        return self.controller.playbook("site.yml", "--tags", "network", *arguments, check=check)

    def wlan0(self) -> dict[str, str]:
        """Return what NetworkManager says of wlan0: its state, its profile and its address."""
        fields = "GENERAL.STATE,GENERAL.CONNECTION,IP4.ADDRESS"
        said = self.pi.run(["nmcli", "--terse", "--fields", fields, "device", "show", "wlan0"]).stdout
        return dict(line.split(":", 1) for line in said.splitlines())

    def is_connected(self) -> bool:
        return self.wlan0() == {
            "GENERAL.STATE": "100 (connected)",
            "GENERAL.CONNECTION": "smart-meter-field",
            "IP4.ADDRESS[1]": f"{FIELD_ADDRESS}/24",
        }

    def is_heard(self) -> bool:
        """Return whether what the ESP32 says crosses the air and is answered."""
        return self.air.run(["ping", "-c", "1", "-W", "1", FIELD_ADDRESS], check=False).returncode == 0

    def link(self) -> str:
        return self.pi.run(["iw", "dev", "wlan0", "link"]).stdout

    def write(self, values: list[str]) -> None:
        command = ["mbpoll", "-m", "tcp", "-a", "1", "-0", "-1", "-t", "4", "-r", "0", FIELD_ADDRESS, "--"]
        self.air.run([*command, *values])

    def read(self) -> list[str]:
        command = ["mbpoll", "-m", "tcp", "-a", "1", "-0", "-1", "-t", "4", "-r", "0", "-c", "8", ADDRESS]
        done = self.lab.run("control", command, timeout=30)
        return re.findall(r"^\[\d+\]:\s+(\d+)", done.stdout, re.MULTILINE)

    def offer(self, wifi: Wifi) -> None:
        """Have the access point offer it, and write it into the inventory."""
        self.air.start(wifi)
        self.controller.site["network_field_ssid"] = wifi.ssid
        self.controller.site["network_field_key_mgmt"] = "sae" if wifi.sae else "wpa-psk"
        self.controller.secrets["vault_network_field_psk"] = wifi.passphrase
        self.controller.write()


def until(condition: Callable[[], bool], seconds: float, story: Story) -> float:
    """Return after how many seconds the condition held; fail with the radio's journal if it doesn't."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            units = ["-u", "NetworkManager", "-u", "wpa_supplicant", "-u", "air-access-point"]
            log = story.pi.run(["journalctl", "-b", *units, "-n", "60", "--no-pager"]).stdout
            pytest.fail(f"not within {seconds:.0f} s:\n{log}")
        time.sleep(0.5)
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with Lab("wifi") as lab:
        pi = boot(lab, NAME)
        token, secret = passphrase()
        site = {
            "network_field_type": "wifi",
            "network_field_psk": "{{ vault_network_field_psk }}",
            "network_country": "DE",
            "network_confirm_seconds": 120,
            "firewall_confirm_seconds": 120,
        }
        controller = Controller(lab, site)
        controller.add(pi)
        story = Story(lab, pi, AccessPoint(pi), controller, token)
        story.offer(Wifi("Field net", secret))
        yield story


def test_the_radio_of_a_fresh_pi_is_off_and_knows_no_country(story: Story) -> None:
    assert story.pi.run(["nmcli", "-g", "WIFI", "radio"]).stdout.strip() == "disabled"
    assert re.search(r"^country 00:", story.pi.run(["iw", "reg", "get"]).stdout, re.MULTILINE)
    assert story.air.stations == []


def test_the_role_joins_the_wifi_and_shows_its_passphrase_to_nobody(story: Story) -> None:
    needles = {"secret": story.token, "control": "nmcli"}
    story.pi.run(["install", "-m", "600", "/dev/stdin", "/run/watch.json"], stdin=json.dumps(needles))
    story.pi.run(["install", "/dev/stdin", "/run/watch.py"], stdin=WATCH)
    story.pi.run(["systemd-run", "--quiet", "--unit=watch", "python3", "/run/watch.py", "/run/watch.json"])

    played = story.network("-vvv", "--diff")

    story.pi.run(["systemctl", "stop", "watch"])
    seen = json.loads(story.pi.run(["cat", "/run/watch.json.seen"]).stdout)
    assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
    until(story.is_connected, 30, story)
    assert story.token not in played.output
    assert seen["control"] > 0, "the watch saw the commands that the role runs"
    assert seen["secret"] == 0, "and none with the passphrase among its arguments"


def test_wlan0_is_in_the_access_points_list_with_its_own_profile_awake_and_in_its_country(
    story: Story,
) -> None:
    mac = story.pi.run(["cat", "/sys/class/net/wlan0/address"]).stdout.strip()
    assert story.air.stations == [mac]
    assert "SSID: Field net" in story.link()
    assert story.is_heard()
    assert "Power save: off" in story.pi.run(["iw", "dev", "wlan0", "get", "power_save"]).stdout
    assert re.search(r"^country DE:", story.pi.run(["iw", "reg", "get"]).stdout, re.MULTILINE)
    assert story.pi.run(["stat", "-c", "%a %U", PROFILE]).stdout.split() == ["600", "root"]


def test_a_wrong_passphrase_is_undone(story: Story) -> None:
    right = story.controller.secrets["vault_network_field_psk"]
    story.controller.secrets["vault_network_field_psk"] = "not the access point's"
    story.controller.write()

    played = story.network(check=False)

    story.controller.secrets["vault_network_field_psk"] = right
    story.controller.write()
    said = " ".join(played.output.split())
    assert played.count(NAME, "failed") == 1, played.output
    assert f"the network change was undone by the Pi itself, and it answers at {ADDRESS} as before" in said
    assert "the Wi-Fi's name and passphrase" in said.replace("''", "'")
    until(story.is_connected, 45, story)
    assert story.is_heard()
    assert (
        right
        in story.pi.run(
            [
                "nmcli",
                "-s",
                "-g",
                "802-11-wireless-security.psk",
                "-e",
                "no",
                "connection",
                "show",
                "smart-meter-field",
            ]
        ).stdout
    )


def test_it_comes_back_by_itself_when_the_access_point_was_away(story: Story) -> None:
    story.air.power_cut()
    until(lambda: not story.is_connected(), 30, story)
    time.sleep(AWAY_SECONDS)

    story.air.power_on()

    until(lambda: story.is_connected() and story.is_heard(), BACK_SECONDS, story)


def test_a_new_name_a_new_passphrase_and_wpa3_are_taken_at_once(story: Story) -> None:
    token, secret = passphrase()
    story.offer(Wifi("Feld-Netz", secret, sae=True))

    played = story.network("-vvv", "--diff")

    assert played.count(NAME, "failed") == 0, played.output
    assert token not in played.output
    until(lambda: story.is_connected() and story.is_heard(), 60, story)
    assert "SSID: Feld-Netz" in story.link()
    assert len(story.air.stations) == 1


def test_a_second_run_changes_nothing(story: Story) -> None:
    played = story.network()

    assert played.count(NAME, "changed") == 0, played.output


def test_it_joins_by_itself_after_a_reboot(story: Story) -> None:
    story.pi.reboot(timeout=240)

    until(lambda: story.is_connected() and story.is_heard(), 60, story)
    assert re.search(r"^country DE:", story.pi.run(["iw", "reg", "get"]).stdout, re.MULTILINE)
    assert "Power save: off" in story.pi.run(["iw", "dev", "wlan0", "get", "power_save"]).stdout


def test_telemetry_crosses_the_air_and_is_read_in_the_control_network(story: Story) -> None:
    played = story.controller.playbook("site.yml")

    assert played.count(NAME, "failed") == 0, played.output
    story.write(EXAMPLE)
    assert story.read() == EXAMPLE
