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
from tests.integration.pi_story import EXAMPLE
from tests.virtual_pi import Lab
from tests.wifi import AccessPoint, Esp32, RadioPi, Station, Wifi, boot
from tests.wifi.machine import BOOT_SECONDS

pytestmark = pytest.mark.pi

NAME = "pi-radio"
PROFILE = "/etc/NetworkManager/system-connections/smart-meter-field.nmconnection"
WATCH = (Path(__file__).parent / "watch.py").read_text()
LATER = ["251", *EXAMPLE[1:]]
# A play of all roles takes some minutes on an idle machine, and many on a busy one.
PLAY_SECONDS = 3600
# It takes five seconds on an idle machine.
JOIN_SECONDS = 90
# How long the access point stays away: five minutes, in which a profile that gives up has given up.
AWAY_SECONDS = 300
# NetworkManager looks around at ever longer intervals, the longest two minutes.
BACK_SECONDS = 180


@dataclass
class Story:
    """The lab, its one Pi, who else is on the air, and the operator's laptop."""

    lab: Lab
    pi: RadioPi
    access_point: AccessPoint
    esp32: Esp32
    controller: Controller
    wifi: Wifi

    def network(self, *arguments: str, check: bool = True) -> Played:
        return self.play("--tags", "network", *arguments, check=check)

    def play(self, *arguments: str, check: bool = True) -> Played:
        return self.controller.playbook("site.yml", *arguments, check=check, timeout=PLAY_SECONDS)

    def expect(self, wifi: Wifi) -> None:
        """Write a Wi-Fi into the inventory."""
        self.wifi = wifi
        self.controller.site["network_field_ssid"] = wifi.ssid
        self.controller.site["network_field_key_mgmt"] = "sae" if wifi.sae else "wpa-psk"
        self.controller.secrets["vault_network_field_psk"] = wifi.passphrase
        self.controller.write()

    @property
    def hardware_address(self) -> str:
        return self.pi.run(["cat", "/sys/class/net/wlan0/address"]).stdout.strip()

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
        """Return whether the ESP32 has joined the Wi-Fi and gets an answer from the Pi over the air."""
        return self.esp32.run(["ping", "-c", "1", "-W", "1", FIELD_ADDRESS], check=False).returncode == 0

    def is_up(self) -> bool:
        return self.is_connected() and self.is_heard()

    def is_given_up(self) -> bool:
        """Return whether NetworkManager leaves wlan0 alone: between two attempts it does for an instant."""
        for _ in range(5):
            if self.wlan0()["GENERAL.STATE"] not in ("30 (disconnected)", "120 (failed)"):
                return False
            time.sleep(3)
        return True

    def saves_power(self) -> bool:
        said = self.pi.run(["iw", "dev", "wlan0", "get", "power_save"]).stdout.strip()
        return {"Power save: on": True, "Power save: off": False}[said]

    def country(self) -> str:
        """Return the country that the kernel obeys; 00 where it knows none."""
        said = re.search(r"^country (..):", self.pi.run(["iw", "reg", "get"]).stdout, re.MULTILINE)
        assert said
        return said[1]

    def condition(self) -> str:
        """Return what a change that was undone has left as it was: addresses, and what is on disk."""
        files = "/etc/NetworkManager/system-connections/* /etc/NetworkManager/conf.d/*"
        script = f"ip -4 -brief address show dev eth0; ip -4 -brief address show dev wlan0; sha256sum {files}"
        return self.pi.run(["sh", "-c", script]).stdout

    def write(self, values: list[str]) -> str:
        """Let the ESP32 write the registers with one FC16; return the bytes that it sent and received."""
        command = [
            "mbpoll",
            "-v",
            "-m",
            "tcp",
            "-a",
            "1",
            "-0",
            "-1",
            "-t",
            "4",
            "-r",
            "0",
            FIELD_ADDRESS,
            "--",
        ]
        return self.esp32.run([*command, *values]).stdout

    def read(self) -> list[str]:
        """Return the registers as the Opta reads them in the control zone."""
        command = ["mbpoll", "-m", "tcp", "-a", "1", "-0", "-1", "-t", "4", "-r", "0", "-c", "8", ADDRESS]
        done = self.lab.run("control", command, timeout=30)
        return re.findall(r"^\[\d+\]:\s+(\d+)", done.stdout, re.MULTILINE)

    def cursor(self) -> str:
        """Return where the Pi's journal ends now."""
        said = self.pi.run(["journalctl", "--lines", "0", "--show-cursor"]).stdout
        return said.rpartition("-- cursor: ")[2].strip()

    def heard_since(self, cursor: str, *identifiers: str) -> str:
        """Return what programs have written into the journal since."""
        named = [word for identifier in identifiers for word in ("-t", identifier)]
        return self.pi.run(["journalctl", "--after-cursor", cursor, "-o", "cat", *named]).stdout


def until(condition: Callable[[], bool], seconds: float, story: Story) -> float:
    """Return after how many seconds the condition held; fail with the radio's journal if it doesn't."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            units = [
                "-u",
                "NetworkManager",
                "-u",
                "wpa_supplicant",
                "-u",
                "air-access-point",
                "-u",
                "air-esp32",
            ]
            log = story.pi.run(["journalctl", "-b", *units, "-n", "80", "--no-pager"]).stdout
            pytest.fail(f"not within {seconds:.0f} s:\n{log}")
        time.sleep(0.5)
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with Lab("wifi") as lab:
        pi = boot(lab, NAME)
        site = {
            "network_field_type": "wifi",
            "network_field_psk": "{{ vault_network_field_psk }}",
            "network_country": "DE",
            # Long enough for a machine that has others to serve beside this one.
            "network_confirm_seconds": 300,
            "firewall_confirm_seconds": 120,
            # An emulated processor takes minutes to install them, and `make test` does it.
            "appliance_unattended_upgrades": False,
        }
        controller = Controller(lab, site)
        controller.add(pi)
        story = Story(lab, pi, AccessPoint(pi), Esp32(pi), controller, Wifi("Field net", passphrase()))
        story.access_point.offer(story.wifi)
        story.esp32.join(story.wifi)
        story.expect(story.wifi)
        yield story


def test_the_radio_of_a_fresh_pi_is_off_saves_power_and_knows_no_country(story: Story) -> None:
    assert story.pi.run(["nmcli", "-g", "WIFI", "radio"]).stdout.strip() == "disabled"
    assert story.saves_power()
    assert story.country() == "00"
    assert list(story.access_point.stations(story.wifi)) == [story.esp32.hardware_address]


def test_the_role_joins_a_wpa2_wifi_and_shows_its_passphrase_to_nobody(story: Story) -> None:
    token = secret_part(story.wifi)
    needles = {"secret": token, "control": "nmcli"}
    story.pi.run(["install", "-m", "600", "/dev/stdin", "/run/watch.json"], stdin=json.dumps(needles))
    story.pi.run(["install", "/dev/stdin", "/run/watch.py"], stdin=WATCH)
    story.pi.run(["systemd-run", "--quiet", "--unit=watch", "python3", "/run/watch.py", "/run/watch.json"])

    played = story.network("-vvv", "--diff")

    story.pi.run(["systemctl", "stop", "watch"])
    seen = json.loads(story.pi.run(["cat", "/run/watch.json.seen"]).stdout)
    assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
    until(story.is_connected, JOIN_SECONDS, story)
    assert token not in played.output
    assert seen["control"] > 0, "the watch saw the commands that the role runs"
    assert seen["secret"] == 0, "and none with the passphrase among its arguments"


def test_wlan0_is_a_wpa2_station_with_its_own_profile_awake_and_in_its_country(story: Story) -> None:
    assert story.is_heard()
    stations = story.access_point.stations(story.wifi)
    assert stations[story.hardware_address] == Station("WPA2", protects_management=False)
    assert not story.saves_power()
    assert story.country() == "DE"
    assert story.pi.run(["stat", "-c", "%a %U", PROFILE]).stdout.split() == ["600", "root"]


def test_a_wrong_passphrase_is_undone_and_the_pi_is_reachable_as_before(story: Story) -> None:
    before = story.condition()
    right = story.wifi
    story.expect(Wifi(right.ssid, "not the access point's"))

    # The undoing waits that long, and here alone it comes to that.
    played = story.network("-e", '{"network_confirm_seconds": 120}', check=False)

    story.expect(right)
    said = " ".join(played.output.split())
    assert played.count(NAME, "failed") == 1, played.output
    assert f"the network change was rolled back by the Pi, and it answers at {ADDRESS} as before" in said
    assert "the Wi-Fi's name and passphrase" in said.replace("''", "'")
    assert story.controller.ssh(story.pi, "hostname").returncode == 0
    until(story.is_up, JOIN_SECONDS, story)
    assert story.condition() == before


def test_it_comes_back_by_itself_when_the_access_point_was_away_for_five_minutes(story: Story) -> None:
    story.access_point.power_cut()
    begun = time.monotonic()
    until(lambda: not story.is_connected(), JOIN_SECONDS, story)
    # Meanwhile all the rest is provisioned over the control network; the network is left alone.
    played = story.play("--skip-tags", "network")
    assert played.count(NAME, "failed") == 0, played.output
    time.sleep(max(0.0, begun + AWAY_SECONDS - time.monotonic()))
    assert not story.is_connected()

    story.access_point.power_on()

    until(story.is_up, BACK_SECONDS, story)


def test_telemetry_crosses_the_air_and_is_read_in_the_control_zone(story: Story) -> None:
    sent = story.write(EXAMPLE)

    assert sent.count("[00][17][01][10][00][00][00][08]") == 1, "one FC16 (0x10) with eight registers"
    assert story.read() == EXAMPLE
    neighbour = story.pi.run(["ip", "neighbour", "show", "192.168.1.50"]).stdout.split()
    assert neighbour[1:5] == ["dev", "wlan0", "lladdr", story.esp32.hardware_address]


def test_it_comes_back_from_an_access_point_that_looked_like_another(story: Story) -> None:
    """As one does that is still starting: NetworkManager takes the passphrase for wrong, and stops trying."""
    begin = story.cursor()
    story.access_point.offer(Wifi(story.wifi.ssid, passphrase(), story.wifi.sae))
    until(story.is_given_up, BACK_SECONDS, story)

    story.access_point.offer(story.wifi)

    until(story.is_up, BACK_SECONDS, story)
    assert "NetworkManager has stopped trying" in story.heard_since(begin, "smart-meter-wifi")


def test_a_new_name_a_new_passphrase_and_wpa3_are_confirmed_over_a_new_connection(story: Story) -> None:
    old, new = story.wifi, Wifi("Feld-Netz", passphrase(), sae=True)
    # Both are on the air, so that it gives up one that works.
    story.access_point.offer(old, new)
    until(story.is_up, JOIN_SECONDS, story)
    story.expect(new)
    begin = story.cursor()

    played = story.network("-vvv", "--diff")

    assert played.count(NAME, "failed") == 0, played.output
    assert secret_part(new) not in played.output
    assert story.is_connected(), "the role has waited for it"
    stations = story.access_point.stations(new)
    assert stations == {story.hardware_address: Station("WPA3", protects_management=True)}
    assert list(story.access_point.stations(old)) == [story.esp32.hardware_address]
    steps = (
        'op="checkpoint-create"',
        "Activation: starting connection 'smart-meter-field'",
        "Accepted publickey for pi",
        'op="checkpoint-destroy"',
    )
    order = ".*".join(map(re.escape, steps))
    journal = story.heard_since(begin, "NetworkManager", "sshd", "sshd-session")
    assert re.search(order, journal, re.DOTALL), journal
    manager = ["org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"]
    waiting = story.pi.run(["busctl", "get-property", *manager, manager[0], "Checkpoints"]).stdout
    assert waiting.split() == ["ao", "0"], "nothing is left that would undo it later"


def test_it_joins_by_itself_after_a_reboot_and_so_does_the_telemetry(story: Story) -> None:
    story.access_point.offer(story.wifi)
    story.esp32.join(story.wifi)

    story.pi.reboot(timeout=BOOT_SECONDS)

    until(story.is_up, JOIN_SECONDS, story)
    assert story.country() == "DE"
    assert not story.saves_power()
    story.write(LATER)
    assert story.read() == LATER


def test_a_second_run_changes_nothing(story: Story) -> None:
    played = story.network()

    assert played.count(NAME, "changed") == 0, played.output


def passphrase() -> str:
    """Return a passphrase with all that may go wrong on its way to the radio."""
    return f'{secrets.token_hex(8)} "$x" #;: \\end'


def secret_part(wifi: Wifi) -> str:
    """Return the part of a passphrase to search for: no way of writing it down changes that."""
    return wifi.passphrase.partition(" ")[0]
