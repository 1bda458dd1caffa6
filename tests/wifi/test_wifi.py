"""The network role over the air, on one Pi with simulated radios. The tests run in the order of the file."""

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
# A play of all roles takes several minutes on an idle machine, and much longer on a busy one.
PLAY_SECONDS = 3600
# Joining takes five seconds on an idle machine.
JOIN_SECONDS = 90
# How long the access point is off. Within five minutes, a profile with limited retries gives up.
AWAY_SECONDS = 300
# NetworkManager scans at increasing intervals of up to two minutes.
BACK_SECONDS = 180


@dataclass
class Story:
    """The lab, its Pi, the other radios, and the operator's laptop."""

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

    def configure(self, wifi: Wifi) -> None:
        """Set the Wi-Fi in the inventory."""
        self.wifi = wifi
        self.controller.site["network_field_ssid"] = wifi.ssid
        self.controller.site["network_field_key_mgmt"] = "sae" if wifi.sae else "wpa-psk"
        self.controller.secrets["vault_network_field_psk"] = wifi.passphrase
        self.controller.write()

    @property
    def hardware_address(self) -> str:
        return self.pi.run(["cat", "/sys/class/net/wlan0/address"]).stdout.strip()

    def wlan0(self) -> dict[str, str]:
        """Return wlan0's state, profile and address from NetworkManager."""
        fields = "GENERAL.STATE,GENERAL.CONNECTION,IP4.ADDRESS"
        output = self.pi.run(["nmcli", "--terse", "--fields", fields, "device", "show", "wlan0"]).stdout
        return dict(line.split(":", 1) for line in output.splitlines())

    def is_connected(self) -> bool:
        return self.wlan0() == {
            "GENERAL.STATE": "100 (connected)",
            "GENERAL.CONNECTION": "smart-meter-field",
            "IP4.ADDRESS[1]": f"{FIELD_ADDRESS}/24",
        }

    def answers_esp32(self) -> bool:
        """Return whether the ESP32 gets a ping reply from the Pi over the air."""
        return self.esp32.run(["ping", "-c", "1", "-W", "1", FIELD_ADDRESS], check=False).returncode == 0

    def is_up(self) -> bool:
        return self.is_connected() and self.answers_esp32()

    def has_given_up(self) -> bool:
        """Return whether NetworkManager has stopped trying to connect wlan0.

        The state is the same for a moment between two attempts, so it must stay so for a while.
        """
        for _ in range(5):
            if self.wlan0()["GENERAL.STATE"] not in ("30 (disconnected)", "120 (failed)"):
                return False
            time.sleep(3)
        return True

    def saves_power(self) -> bool:
        output = self.pi.run(["iw", "dev", "wlan0", "get", "power_save"]).stdout.strip()
        return {"Power save: on": True, "Power save: off": False}[output]

    def country(self) -> str:
        """Return the country whose rules the kernel applies; 00 if none is set."""
        found = re.search(r"^country (..):", self.pi.run(["iw", "reg", "get"]).stdout, re.MULTILINE)
        assert found
        return found[1]

    def network_state(self) -> str:
        """Return what a rollback must restore: addresses, and the files on disk."""
        files = "/etc/NetworkManager/system-connections/* /etc/NetworkManager/conf.d/*"
        script = f"ip -4 -brief address show dev eth0; ip -4 -brief address show dev wlan0; sha256sum {files}"
        return self.pi.run(["sh", "-c", script]).stdout

    def write(self, values: list[str]) -> str:
        """Write the registers from the ESP32 with one FC16; return the bytes that it sent and received."""
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
        """Read the registers from the control zone, like the Opta."""
        command = ["mbpoll", "-m", "tcp", "-a", "1", "-0", "-1", "-t", "4", "-r", "0", "-c", "8", ADDRESS]
        done = self.lab.run("control", command, timeout=30)
        return re.findall(r"^\[\d+\]:\s+(\d+)", done.stdout, re.MULTILINE)

    def cursor(self) -> str:
        """Return the current end of the Pi's journal."""
        output = self.pi.run(["journalctl", "--lines", "0", "--show-cursor"]).stdout
        return output.rpartition("-- cursor: ")[2].strip()

    def journal_since(self, cursor: str, *identifiers: str) -> str:
        """Return the journal entries of some programs since a cursor."""
        named = [word for identifier in identifiers for word in ("-t", identifier)]
        return self.pi.run(["journalctl", "--after-cursor", cursor, "-o", "cat", *named]).stdout


def until(condition: Callable[[], bool], seconds: float, story: Story) -> float:
    """Wait until the condition holds; return the seconds it took. On failure, show the radio's journal."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
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
    return time.monotonic() - started


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with Lab("wifi") as lab:
        pi = boot(lab, NAME)
        site = {
            "network_field_type": "wifi",
            "network_field_psk": "{{ vault_network_field_psk }}",
            "network_country": "DE",
            # Long enough for a machine that is busy with other tests.
            "network_confirm_seconds": 300,
            "firewall_confirm_seconds": 120,
            # They take minutes to install on an emulated processor, and other tests cover them.
            "appliance_unattended_upgrades": False,
        }
        controller = Controller(lab, site)
        controller.add(pi)
        story = Story(lab, pi, AccessPoint(pi), Esp32(pi), controller, Wifi("Field net", passphrase()))
        story.access_point.offer(story.wifi)
        story.esp32.join(story.wifi)
        story.configure(story.wifi)
        yield story


def test_on_a_fresh_pi_the_radio_is_off_saves_power_and_has_no_country(story: Story) -> None:
    assert story.pi.run(["nmcli", "-g", "WIFI", "radio"]).stdout.strip() == "disabled"
    assert story.saves_power()
    assert story.country() == "00"
    assert list(story.access_point.stations(story.wifi)) == [story.esp32.hardware_address]


def test_the_role_joins_a_wpa2_wifi_without_exposing_its_passphrase(story: Story) -> None:
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
    assert seen["control"] > 0, "the watch did not see the role's commands"
    assert seen["secret"] == 0, "the passphrase was among the arguments of a command"


def test_wlan0_uses_wpa2_and_its_own_profile_without_power_saving_and_with_its_country(story: Story) -> None:
    assert story.answers_esp32()
    stations = story.access_point.stations(story.wifi)
    assert stations[story.hardware_address] == Station("WPA2", protects_management=False)
    assert not story.saves_power()
    assert story.country() == "DE"
    assert story.pi.run(["stat", "-c", "%a %U", PROFILE]).stdout.split() == ["600", "root"]


def test_a_wrong_passphrase_is_rolled_back_and_the_pi_stays_reachable(story: Story) -> None:
    before = story.network_state()
    right = story.wifi
    story.configure(Wifi(right.ssid, "not the access point's"))

    # The rollback happens after this time. It is the only test that has to wait for it.
    played = story.network("-e", '{"network_confirm_seconds": 120}', check=False)

    story.configure(right)
    output = " ".join(played.output.split())
    assert played.count(NAME, "failed") == 1, played.output
    assert f"the network change was rolled back by the Pi, and it answers at {ADDRESS} as before" in output
    assert "the Wi-Fi's name and passphrase" in output.replace("''", "'")
    assert story.controller.ssh(story.pi, "hostname").returncode == 0
    until(story.is_up, JOIN_SECONDS, story)
    assert story.network_state() == before


def test_it_reconnects_after_the_access_point_was_off_for_five_minutes(story: Story) -> None:
    story.access_point.power_cut()
    started = time.monotonic()
    until(lambda: not story.is_connected(), JOIN_SECONDS, story)
    # Meanwhile, everything except the network is provisioned over the control network.
    played = story.play("--skip-tags", "network")
    assert played.count(NAME, "failed") == 0, played.output
    time.sleep(max(0.0, started + AWAY_SECONDS - time.monotonic()))
    assert not story.is_connected()

    story.access_point.power_on()

    until(story.is_up, BACK_SECONDS, story)


def test_telemetry_sent_over_the_air_can_be_read_in_the_control_zone(story: Story) -> None:
    sent = story.write(EXAMPLE)

    assert sent.count("[00][17][01][10][00][00][00][08]") == 1, "not one FC16 (0x10) with eight registers"
    assert story.read() == EXAMPLE
    neighbour = story.pi.run(["ip", "neighbour", "show", "192.168.1.50"]).stdout.split()
    assert neighbour[1:5] == ["dev", "wlan0", "lladdr", story.esp32.hardware_address]


def test_it_reconnects_although_the_access_point_had_rejected_the_passphrase(story: Story) -> None:
    """An access point that is still starting may do so. NetworkManager then stops trying."""
    begin = story.cursor()
    story.access_point.offer(Wifi(story.wifi.ssid, passphrase(), story.wifi.sae))
    until(story.has_given_up, BACK_SECONDS, story)

    story.access_point.offer(story.wifi)

    until(story.is_up, BACK_SECONDS, story)
    assert "NetworkManager has stopped trying" in story.journal_since(begin, "smart-meter-wifi")


def test_a_change_of_name_passphrase_and_wpa_version_is_confirmed_over_a_new_connection(story: Story) -> None:
    old, new = story.wifi, Wifi("Feld-Netz", passphrase(), sae=True)
    # Both are on the air, so that the Pi leaves one that still works.
    story.access_point.offer(old, new)
    until(story.is_up, JOIN_SECONDS, story)
    story.configure(new)
    begin = story.cursor()

    played = story.network("-vvv", "--diff")

    assert played.count(NAME, "failed") == 0, played.output
    assert secret_part(new) not in played.output
    assert story.is_connected(), "the role did not wait for the connection"
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
    journal = story.journal_since(begin, "NetworkManager", "sshd", "sshd-session")
    assert re.search(order, journal, re.DOTALL), journal
    manager = ["org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"]
    checkpoints = story.pi.run(["busctl", "get-property", *manager, manager[0], "Checkpoints"]).stdout
    assert checkpoints.split() == ["ao", "0"], "a checkpoint is left that would undo the change later"


def test_wifi_and_telemetry_are_back_after_a_reboot(story: Story) -> None:
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
    """Return a passphrase with characters that are easily quoted wrongly."""
    return f'{secrets.token_hex(8)} "$x" #;: \\end'


def secret_part(wifi: Wifi) -> str:
    """Return the part of the passphrase that is the same however it is quoted, to search for it."""
    return wifi.passphrase.partition(" ")[0]
