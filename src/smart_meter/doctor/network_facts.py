"""Collects what NetworkManager, the networks and the Wi-Fi driver report. Judges nothing and changes nothing.

A fact that is not available is None; the judging functions decide what that means.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from smart_meter.config.small_file import read_small
from smart_meter.doctor import neighbours
from smart_meter.doctor.facts import output_of, text_of
from smart_meter.doctor.network import PROFILES, Device
from smart_meter.doctor.ping import UNIT, PingRules


def network_devices() -> dict[str, Device] | None:
    """Return the interfaces as NetworkManager sees them; None if it does not answer."""
    fields = "GENERAL.DEVICE,GENERAL.STATE,GENERAL.REASON,GENERAL.CONNECTION,GENERAL.CON-UUID"
    shown = output_of("nmcli", "-t", "-f", fields, "device", "show")
    return None if shown is None else parse_devices(shown)


def parse_devices(shown: str) -> dict[str, Device]:
    """Return the interfaces in the output of `nmcli -t device show`: blocks of lines NAME:VALUE."""
    found = {}
    for block in shown.split("\n\n"):
        pairs = [line.partition(":")[::2] for line in block.splitlines()]
        values = {name: "" if value == "--" else value for name, value in pairs}
        state = re.match(r"\d+", values.get("GENERAL.STATE", ""))
        if state is not None and "GENERAL.DEVICE" in values:
            found[values["GENERAL.DEVICE"]] = Device(
                state=int(state[0]),
                reason=values.get("GENERAL.REASON", ""),
                profile=values.get("GENERAL.CONNECTION", ""),
                uuid=values.get("GENERAL.CON-UUID", ""),
            )
    return found


def own_profile(zone: str, folder: Path = Path(PROFILES)) -> str | None:
    """Return the UUID in the file of a zone's profile; empty without one, None if this user can't read it."""
    try:
        text = read_small(folder / f"smart-meter-{zone}.nmconnection").decode(errors="replace")
    except PermissionError:
        return None
    except OSError:
        return ""
    found = re.search(r"(?m)^uuid=([0-9a-f-]{36})$", text)
    return found[1] if found else ""


def other_hosts(asked: Sequence[tuple[str, str]]) -> dict[str, str] | None:
    """Return the MAC addresses of other hosts that have the addresses; None if this user may not ask."""
    try:
        return neighbours.others(asked)
    except OSError:
        return None


def wanted_country() -> str:
    """Return the Wi-Fi country that was provisioned; empty without Wi-Fi."""
    text = text_of(Path("/etc/modprobe.d/smart-meter-wifi.conf")) or ""
    found = re.search(r"(?m)^options cfg80211 .*\bieee80211_regdom=([A-Z]{2})", text)
    return found[1] if found else ""


def country() -> str:
    """Return the Wi-Fi country in force."""
    return parse_country(output_of("iw", "reg", "get") or "")


def parse_country(shown: str) -> str:
    """Return the country in the output of `iw reg get`: that of a radio with its own, else the global one."""
    blocks = re.split(r"(?m)^(?=global|phy)", shown)
    own = [block for block in blocks if re.match(r"phy.*self-managed", block)]
    for block in [*own, *(block for block in blocks if block.startswith("global"))]:
        if found := re.search(r"(?m)^country ([A-Z]{2}|00):", block):
            return found[1]
    return ""


def country_of_command_line() -> str:
    """Return the Wi-Fi country that the kernel's command line sets, which has precedence; empty if none."""
    found = re.search(r"\bcfg80211\.ieee80211_regdom=(\w+)", text_of(Path("/proc/cmdline")) or "")
    return found[1] if found else ""


def ping_rules() -> PingRules | None:
    """Return the rules that limit ping; None if this user is not root, as iptables requires."""
    if os.geteuid() != 0:
        return None
    # A kernel without IPv6 answers no ping of it.
    commands = ["iptables", "ip6tables"] if Path("/proc/net/if_inet6").exists() else ["iptables"]
    in_force = {command: output_of(command, "-w", "5", "-t", "raw", "-S") for command in commands}
    return PingRules(text_of(Path("/etc/systemd/system", UNIT)), in_force)
