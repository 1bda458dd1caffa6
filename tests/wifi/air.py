"""The other radios: the access point, and an ESP32, which is another station of it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.virtual_pi import LabError
from tests.wifi.machine import RadioPi

_CONFIGURATION = "/var/lib/air"
_RADIO = "wlan1"
_HARDWARE_ADDRESS = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


@dataclass(frozen=True)
class Wifi:
    """A network of the access point. sae: WPA3 only, with protected management frames; else WPA2 only."""

    ssid: str
    passphrase: str
    sae: bool = False

    @property
    def access_point(self) -> list[str]:
        """The lines for hostapd's configuration."""
        lines = [
            "bridge=br0",
            "ctrl_interface=/run/hostapd",
            f"ssid={self.ssid}",
            "wpa=2",
            "rsn_pairwise=CCMP",
        ]
        if self.sae:
            return [*lines, "wpa_key_mgmt=SAE", "ieee80211w=2", f"sae_password={self.passphrase}"]
        return [*lines, "wpa_key_mgmt=WPA-PSK", f"wpa_passphrase={self.passphrase}"]

    @property
    def station(self) -> list[str]:
        """The lines for wpa_supplicant's configuration."""
        lines = [f'ssid="{self.ssid}"', "scan_freq=2437"]
        if self.sae:
            return [*lines, "key_mgmt=SAE", "ieee80211w=2", f'sae_password="{self.passphrase}"']
        return [*lines, "key_mgmt=WPA-PSK", f'psk="{self.passphrase}"']


@dataclass(frozen=True)
class Station:
    """A station that has authenticated, as the access point sees it."""

    key_management: str  # WPA2 or WPA3; the number of any other suite
    protects_management: bool  # Its management frames are protected, as WPA3 requires (IEEE 802.11w).


class AccessPoint:
    """The radio that the Pi's wlan0 connects to. Its Wi-Fis are ports of a bridge (192.168.1.1)."""

    def __init__(self, pi: RadioPi) -> None:
        self._pi = pi
        self._unit = _Unit(pi, "air-access-point.service", f"{_CONFIGURATION}/hostapd.conf")
        self._offered: list[Wifi] = []

    def offer(self, *wifis: Wifi, timeout: float = 120) -> None:
        """Offer these Wi-Fis and no others, now and after a reboot."""
        self._offered = list(wifis)
        # Without a country, so that the Pi can't learn its country from here.
        lines = ["driver=nl80211", "hw_mode=g", "channel=6"]
        for number, wifi in enumerate(wifis):
            lines += [f"{'bss' if number else 'interface'}={_interface(number)}", *wifi.access_point]
        self._unit.start(lines)
        self._unit.wait_for(lambda: "state=ENABLED" in self._cli(_RADIO, "status"), timeout)

    def power_cut(self) -> None:
        """Switch the access point off without notice to its stations."""
        for number in range(len(self._offered)):
            self._pi.run(["ip", "-n", "ap", "link", "set", _interface(number), "down"])
        self._pi.run(["systemctl", "stop", self._unit.name])

    def power_on(self) -> None:
        self._pi.run(["systemctl", "start", self._unit.name])

    def stations(self, wifi: Wifi) -> dict[str, Station]:
        """Return the stations of one of the offered Wi-Fis by their hardware addresses."""
        blocks: dict[str, dict[str, str]] = {}
        address = ""
        for line in self._cli(_interface(self._offered.index(wifi)), "all_sta").splitlines():
            key, equals, value = line.partition("=")
            if _HARDWARE_ADDRESS.fullmatch(line):
                address = line
                blocks[address] = {}
            elif equals and address:
                blocks[address][key] = value
        return {
            address: Station(
                _SUITES.get(block["AKMSuiteSelector"], block["AKMSuiteSelector"]), "[MFP]" in block["flags"]
            )
            for address, block in blocks.items()
            if "[AUTHORIZED]" in block.get("flags", "")
        }

    def _cli(self, interface: str, command: str) -> str:
        return self._pi.run(["hostapd_cli", "-i", interface, command], check=False).stdout


class Esp32:
    """A station with its own radio (192.168.1.50). Its packets to the Pi cross the air twice."""

    def __init__(self, pi: RadioPi) -> None:
        self._pi = pi
        self._unit = _Unit(pi, "air-esp32.service", f"{_CONFIGURATION}/esp32.conf")

    def join(self, wifi: Wifi, timeout: float = 120) -> None:
        """Join a Wi-Fi, and rejoin it automatically, also after a reboot."""
        self._unit.start(["ctrl_interface=/run/air-esp32", "network={", *wifi.station, "}"])
        status = ["wpa_cli", "-p", "/run/air-esp32", "-i", "wlan2", "status"]
        self._unit.wait_for(
            lambda: "wpa_state=COMPLETED" in self._pi.run(status, check=False).stdout, timeout
        )

    @property
    def hardware_address(self) -> str:
        return self.run(["cat", "/sys/class/net/wlan2/address"]).stdout.strip()

    def run(
        self, command: Sequence[str], *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the ESP32's network namespace."""
        return self._pi.run(["ip", "netns", "exec", "esp32", *command], check=check, timeout=timeout)


# IEEE 802.11-2020, table 9-151.
_SUITES = {"00-0f-ac-2": "WPA2", "00-0f-ac-8": "WPA3"}


class _Unit:
    """A systemd unit of the rig, with its configuration. Once started, it also starts at boot."""

    def __init__(self, pi: RadioPi, name: str, configuration: str) -> None:
        self.name = name
        self._pi = pi
        self._configuration = configuration

    def start(self, lines: Sequence[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        self._pi.run(["install", "-D", "-m", "600", "/dev/stdin", self._configuration], stdin=text)
        self._pi.run(["systemctl", "enable", "--quiet", self.name])
        self._pi.run(["systemctl", "restart", self.name])

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                log = self._pi.run(["journalctl", "-u", self.name, "-n", "20", "--no-pager"]).stdout
                raise LabError(f"{self.name} does not come up within {timeout:g} s:\n{log}")
            time.sleep(0.2)


def _interface(number: int) -> str:
    return f"{_RADIO}_{number}" if number else _RADIO
