"""Reads the keyfile of a zone's profile: only the sections and keys that the template writes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, ip_address

from smart_meter.config.toml_table import show

PSK = "psk="
NO_PSK = "psk=@passphrase@"
"""The line that stands on a card in place of the passphrase."""

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEYS: dict[str, dict[str, str]] = {
    "connection": {
        "id": r"smart-meter-(?:field|control)",
        "uuid": _UUID,
        "type": r"wifi|ethernet",
        "interface-name": r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}",
        "autoconnect-priority": r"999",
        "autoconnect-retries": r"0",
    },
    "wifi": {"mode": r"infrastructure", "powersave": r"2", "ssid": r"(?:\d{1,3};){1,32}"},
    "wifi-security": {"key-mgmt": r"wpa-psk|sae", "psk": r"@passphrase@"},
    "ipv4": {
        "method": r"manual",
        "address1": r"[0-9.]{7,15}/\d{1,2}",
        "gateway": r"[0-9.]{7,15}",
        "dns": r"(?:[0-9a-f.:]{2,40};){1,8}",
        "may-fail": r"false",
    },
    "ipv6": {"method": r"disabled"},
}
_OPTIONAL = {"ipv4.gateway", "ipv4.dns"}


@dataclass(frozen=True, slots=True)
class Profile:
    """A zone's profile. gateway: None if the zone has none."""

    zone: str
    interface: str
    address: IPv4Interface
    gateway: IPv4Address | None
    wifi: bool


def read(text: str, zone: str, problem: Callable[[str, str], None]) -> Profile | None:
    """Return a zone's profile; None if a problem was reported. problem: takes a key and a message."""
    values = _values(text, problem)
    if values is None:
        return None
    wanted = ["connection", "ipv4", "ipv6"]
    if values.get("connection.type") == "wifi":
        wanted += ["wifi", "wifi-security"]
    names = {f"{section}.{key}" for section in wanted for key in _KEYS[section]}
    missing, surplus = sorted(names - _OPTIONAL - set(values)), sorted(set(values) - names)
    for name in missing:
        problem(name, "is missing")
    for name in surplus:
        problem(name, f"does not belong to a profile of the type {values.get('connection.type')}")
    if missing or surplus:
        return None
    if values["connection.id"] != f"smart-meter-{zone}":
        problem("connection.id", f"{show(values['connection.id'])} is not smart-meter-{zone}")
        return None
    return _profile(values, zone, problem)


def with_passphrase(text: str, passphrase: str) -> str:
    """Return a profile's text with a passphrase, which has the keyfile's spelling."""
    return re.sub(rf"(?m)^{NO_PSK}$", lambda _: PSK + passphrase, text)


def without_passphrase(text: str) -> str:
    """Return a profile's text as it is on a card."""
    return re.sub(rf"(?m)^{PSK}.*$", NO_PSK, text)


def passphrase_of(text: str) -> str:
    """Return the passphrase of a profile's text as the keyfile spells it; empty if there is none."""
    found = re.search(rf"(?m)^{PSK}(.+)$", text)
    return found[1] if found else ""


def _values(text: str, problem: Callable[[str, str], None]) -> dict[str, str] | None:
    """Return each value by `section.key`; None if a line is not as it has to be."""
    values: dict[str, str] = {}
    section, good = "", True
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        header = re.fullmatch(r"\[([a-z0-9-]+)\]", line)
        if header:
            section = header[1]
            continue
        key, equals, value = line.partition("=")
        name = f"{section}.{key}"
        pattern = _KEYS.get(section, {}).get(key)
        if not equals or pattern is None:
            if _is_secret(section, line):
                problem(section, "a line that is not shown here is not one of a zone's profile")
            else:
                problem(name if section else "", f"{show(line)} is not a line of a zone's profile")
        elif name in values:
            problem(name, "is there twice")
        elif not re.fullmatch(pattern, value):
            shown = "its value" if _is_secret(section, line) else show(value)
            problem(name, f"{shown} can't be used in a zone's profile")
        else:
            values[name] = value
            continue
        good = False
    return values if good else None


def _is_secret(section: str, line: str) -> bool:
    """Whether a line could have the passphrase, in place of what belongs there."""
    return section == "wifi-security" or line.startswith(PSK)


def _profile(values: dict[str, str], zone: str, problem: Callable[[str, str], None]) -> Profile | None:
    try:
        address = IPv4Interface(values["ipv4.address1"])
    except ValueError:
        problem(
            "ipv4.address1", f"{show(values['ipv4.address1'])} is not an IPv4 address with its prefix length"
        )
        return None
    gateway = None
    try:
        if "ipv4.gateway" in values:
            gateway = IPv4Address(values["ipv4.gateway"])
        for server in values.get("ipv4.dns", "").split(";")[:-1]:
            ip_address(server)
    except ValueError as error:
        problem("ipv4", f"has what is not an address: {error}")
        return None
    if gateway is not None and gateway not in address.network:
        problem("ipv4.gateway", f"{gateway} is not in the zone's network {address.network}")
        return None
    if any(int(byte) > 255 for byte in values.get("wifi.ssid", "").split(";")[:-1]):
        problem("wifi.ssid", f"{show(values['wifi.ssid'])} is not a list of bytes")
        return None
    wifi = values["connection.type"] == "wifi"
    return Profile(zone, values["connection.interface-name"], address, gateway, wifi)
