"""SSIDs and passphrases in a profile, each character, as NetworkManager's own program writes them.

Where nmcli is not installed, they are compared with what it wrote once (keyfile_by_nmcli.json, made by
`python -m tests.unit.roles.test_keyfile [ROOT]` with the nmcli of this machine, or of a root file system).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from roles.network.filter_plugins.keyfile import FilterModule, keyfile_bytes, keyfile_text

RECORD = Path(__file__).with_name("keyfile_by_nmcli.json")
PROFILE = (
    Path(__file__).parent
    / "golden/default/etc/NetworkManager/system-connections/smart-meter-field.nmconnection"
)
PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
# Each character first, and each last; in the middle, many at a time.
PASSPHRASES = [
    *(f"{character}2345678" for character in PRINTABLE),
    *(f"1234567{character}" for character in PRINTABLE),
    *("x" + "".join(PRINTABLE[at : at + 60]) + "x" for at in range(0, len(PRINTABLE), 48)),
    "  two blanks  ",
    "a  b\\\\  c",
    "\\s\\t\\n\\x20",
    "        ",
    "0123456789abcdef" * 4,
]
SSIDS = [
    "north-field",
    "12345678",
    "49;",
    "49;50;",
    " a b ",
    "'\"#;=[]\\",
    "Büro 🌞",
    "x" * 32,
    "".join(PRINTABLE[:32]),
    "".join(PRINTABLE[32:64]),
    "".join(PRINTABLE[64:]),
]


def nmcli(*arguments: str, root: str, profile: str = "") -> dict[str, str]:
    """Return the lines NAME=VALUE of what nmcli writes, offline. profile: the text that it reads."""
    program = [*(["chroot", root] if root else []), "nmcli", "--offline", "connection", *arguments]
    done = subprocess.run(program, input=profile, check=True, capture_output=True, text=True)
    return dict(line.split("=", 1) for line in done.stdout.split("\n") if "=" in line)


def added(*, ssid: str = "x", passphrase: str = "x" * 8, root: str = "") -> dict[str, str]:
    """Return the lines of a profile that nmcli has made."""
    arguments = ["type", "wifi", "con-name", "x", "ifname", "wlan0", "ssid", ssid]
    return nmcli("add", *arguments, "wifi-sec.key-mgmt", "wpa-psk", "wifi-sec.psk", passphrase, root=root)


def read(*, ssid: str = "x", passphrase: str = "x" * 8, root: str = "") -> dict[str, str]:
    """Return the lines of our profile after nmcli has read it."""
    text = PROFILE.read_text(encoding="utf-8")
    for name, value in (("ssid", keyfile_bytes(ssid)), ("psk", keyfile_text(passphrase))):
        before, line, after = text.partition(f"\n{name}=")
        text = f"{before}{line}{value}\n{after.partition(chr(10))[2]}"
    return nmcli("modify", "connection.id", "x", root=root, profile=text)


@cache
def recorded() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("passphrase", PASSPHRASES)
def test_a_passphrase_is_written_as_nmcli_writes_it(passphrase: str) -> None:
    if shutil.which("nmcli"):
        assert added(passphrase=passphrase)["psk"] == read(passphrase=passphrase)["psk"]
    assert keyfile_text(passphrase) == recorded()["psk"][passphrase]


def of_text(value: str) -> bytes:
    """Return the bytes of an SSID that nmcli has written: as text if that can't be misunderstood."""
    if value.endswith(";") and not value.endswith("\\;"):
        return bytes(int(number) for number in value[:-1].split(";"))
    return (
        re.sub(r"\\(.)", lambda found: {"s": " "}.get(found[1], found[1]), value).replace("\\;", ";").encode()
    )


@pytest.mark.parametrize("ssid", SSIDS)
def test_an_ssid_has_the_bytes_that_nmcli_writes(ssid: str) -> None:
    if shutil.which("nmcli"):
        assert added(ssid=ssid)["ssid"] == read(ssid=ssid)["ssid"]
    assert of_text(recorded()["ssid"][ssid]) == ssid.encode()
    assert bytes(map(int, keyfile_bytes(ssid).rstrip(";").split(";"))) == ssid.encode()


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "\r", "\x00", "\x7f"])
def test_a_control_character_is_refused_without_naming_the_text(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"^keyfile_text: the text has a control character$"):
        keyfile_text(text)


def test_ansible_finds_the_filters() -> None:
    assert set(FilterModule().filters()) == {"keyfile_bytes", "keyfile_text"}


def record(root: str) -> None:
    """Write what nmcli makes of each text, and assert that it reads the same in our profile.

    It pauses between the calls, since it may run beside tests that measure time.
    """
    found: dict[str, dict[str, str]] = {"psk": {}, "ssid": {}}
    for passphrase in PASSPHRASES:
        found["psk"][passphrase] = added(passphrase=passphrase, root=root)["psk"]
        assert read(passphrase=passphrase, root=root)["psk"] == found["psk"][passphrase]
        time.sleep(0.1)
    for ssid in SSIDS:
        found["ssid"][ssid] = added(ssid=ssid, root=root)["ssid"]
        assert read(ssid=ssid, root=root)["ssid"] == found["ssid"][ssid]
    RECORD.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record(*sys.argv[1:] or [""])
