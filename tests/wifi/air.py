"""The access point on the other side of the Pi's radio, and who else is in its network."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.virtual_pi import LabError
from tests.wifi.machine import RadioPi

_UNIT = "air-access-point.service"
_CONFIG = "/var/lib/air/hostapd.conf"
_STATION = "wlan1"


@dataclass(frozen=True)
class Wifi:
    """What an access point offers. sae: WPA3 alone, with protected management frames; else WPA2 alone."""

    ssid: str
    passphrase: str
    sae: bool = False

    @property
    def config(self) -> str:
        """The configuration of hostapd. No country: the Pi's has to come from the Pi itself."""
        lines = [
            f"interface={_STATION}",
            "driver=nl80211",
            "ctrl_interface=/run/hostapd",
            f"ssid={self.ssid}",
            "hw_mode=g",
            "channel=6",
            "wpa=2",
            "rsn_pairwise=CCMP",
        ]
        if self.sae:
            lines += ["wpa_key_mgmt=SAE", "ieee80211w=2", f"sae_password={self.passphrase}"]
        else:
            lines += ["wpa_key_mgmt=WPA-PSK", f"wpa_passphrase={self.passphrase}"]
        return "\n".join(lines) + "\n"


class AccessPoint:
    """The radio that is not the Pi's; the ESP32 (192.168.1.50) speaks from it as well."""

    def __init__(self, pi: RadioPi) -> None:
        self._pi = pi

    def start(self, wifi: Wifi, timeout: float = 30) -> None:
        """Offer a Wi-Fi, and no other any more; it is offered again after a reboot."""
        self._pi.run(["install", "-D", "-m", "600", "/dev/stdin", _CONFIG], stdin=wifi.config)
        self._pi.run(["systemctl", "enable", "--quiet", _UNIT])
        self._pi.run(["systemctl", "restart", _UNIT])
        deadline = time.monotonic() + timeout
        while "state=ENABLED" not in self._cli("status"):
            if time.monotonic() > deadline:
                log = self._pi.run(["journalctl", "-u", _UNIT, "-n", "20", "--no-pager"]).stdout
                raise LabError(f"the access point does not come up:\n{log}")
            time.sleep(0.2)

    def power_cut(self) -> None:
        """Silence the access point at once: no station hears a word of farewell."""
        self.run(["ip", "link", "set", _STATION, "down"])
        self._pi.run(["systemctl", "stop", _UNIT])

    def power_on(self) -> None:
        self._pi.run(["systemctl", "start", _UNIT])

    @property
    def stations(self) -> list[str]:
        """The hardware address of each station that has proved to know the passphrase."""
        blocks = self._cli("all_sta").split("\nconnected_time=")[:-1]
        return [
            line
            for block in blocks
            if "[AUTHORIZED]" in block
            for line in block.splitlines()
            if line.count(":") == 5 and "=" not in line
        ]

    def run(
        self, command: Sequence[str], *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the access point's network, where the ESP32 is."""
        return self._pi.run(["ip", "netns", "exec", "ap", *command], check=check, timeout=timeout)

    def _cli(self, command: str) -> str:
        return self._pi.run(["hostapd_cli", "-i", _STATION, command], check=False).stdout
