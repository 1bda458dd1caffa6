"""Required secrets of Wi-Fi and sudo; their values are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roles.preflight.rules.countries import COUNTRIES, MEANT
from roles.preflight.rules.problem import Problem, Values, problem, show

_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_PASSPHRASE = re.compile(r"[ -~]{8,63}")  # IEEE 802.11-2020, J.4.1: ASCII 32 to 126
_COUNTRY = re.compile(r"[A-Z]{2}")
_VAULT = "keep it in Ansible Vault"


def check_wifi(values: Values) -> Iterator[Problem]:
    """Check the settings that a Wi-Fi zone needs."""
    if values.get("network_field_type") != "wifi":
        return
    ssid = values.get("network_field_ssid")
    if ssid == "":
        yield problem(
            "network_field_ssid", "is missing; give the name of the Wi-Fi network that the Pi joins"
        )
    elif isinstance(ssid, str) and not 1 <= len(ssid.encode()) <= 32:  # IEEE 802.11-2020, 9.4.2.2
        size = len(ssid.encode())
        yield problem("network_field_ssid", f"{show(ssid)} is {size} bytes long; a Wi-Fi's name has 1 to 32")
    elif isinstance(ssid, str) and not ssid.isprintable():
        yield problem("network_field_ssid", f"{show(ssid)} has unprintable characters; give only the name")
    yield from _check_passphrase(values)
    country = values.get("network_country")
    hint = "two capital letters of ISO 3166, such as DE"
    if country == "":
        message = f"is missing, and the Wi-Fi stays off until it is set; give {hint}"
        yield problem("network_country", message)
    elif isinstance(country, str) and not _COUNTRY.fullmatch(country):
        yield problem("network_country", f"{show(country)} is not a country code; give {hint}")
    elif isinstance(country, str) and country not in COUNTRIES:
        fix = f"did you mean {MEANT[country]}?" if country in MEANT else f"give {hint}"
        yield problem("network_country", f"{show(country)} is not the code of a country; {fix}")


def _check_passphrase(values: Values) -> Iterator[Problem]:
    name = "network_field_psk"
    passphrase = values.get(name)
    is_sae = values.get("network_field_key_mgmt") == "sae"
    right = "8 to 63 printable ASCII characters" + ("" if is_sae else " or 64 hexadecimal digits")
    if passphrase == "":
        yield problem(name, f"is missing; give the Wi-Fi's passphrase, {right}, and {_VAULT}")
    elif isinstance(passphrase, str) and not _PASSPHRASE.fullmatch(passphrase):
        if not is_sae and _HEX_KEY.fullmatch(passphrase):
            return
        yield problem(name, f"is malformed (its value is not shown); give {right}")


def check_sudo(values: Values, *, asked_for: bool) -> Iterator[Problem]:
    """Check that sudo's password is given; `asked_for`: by --ask-become-pass or a password file."""
    name = "ansible_become_password"
    needless = (
        asked_for
        or values.get("preflight_sudo_asks") is False
        or values.get("ansible_user") == "root"
        or "ansible_become_pass" in values
    )
    password = values.get(name)
    if needless or (isinstance(password, str) and password):
        return
    fix = f"give it and {_VAULT}, run with --ask-become-pass, or set preflight_sudo_asks: false"
    if name not in values or password in ("", None):
        yield problem(name, f"is missing, and sudo on the Pi asks for it; {fix}")
    else:
        yield problem(name, "is not text to YAML (its value is not shown); put it in quotation marks")
