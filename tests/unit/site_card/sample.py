"""A good card, made of the templates' golden files, and a Pi on which nothing of it is yet."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from smart_meter import __version__
from smart_meter.site_card.card import Card, render
from smart_meter.site_card.commands import Done
from smart_meter.site_card.keyfile import NO_PSK
from smart_meter.site_card.places import PLACES, SOCKET

GOLDEN = Path(__file__).resolve().parents[1] / "roles/golden/default"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrD0Jb8Y0qHkXfAQ4mM7Cw1hYy8m3bq0tXc5dYk2ZpE operator"
PASSPHRASE = "\\scorrect horse"  # noqa: S105 - used nowhere else.
PASSWORD = "$6$rounds=20000$saltsalt$" + "a" * 86
RULES = (
    "ufw allow in on wlan0 from 192.168.1.0/24 to 192.168.1.100 port 502 proto tcp "
    "comment 'Modbus TCP from the field zone'",
    "ufw allow in on eth0 from 192.168.2.0/24 to 192.168.2.100 port 502 proto tcp "
    "comment 'Modbus TCP from the control zone'",
    "ufw allow in on eth0 from 192.168.2.0/24 to 192.168.2.100 port 22 proto tcp "
    "comment 'SSH from 192.168.2.0/24'",
)
UFW_CONF = "# /etc/ufw/ufw.conf\nENABLED=yes\nLOGLEVEL=low\n"
_HEAD = ["Site card of pi-north"]


def files() -> dict[str, str]:
    """Return the texts of the golden files of the example's first Pi."""
    found = {}
    for place in PLACES:
        path = GOLDEN / place.path.lstrip("/")
        if place.path == "/etc/hostname":
            found[place.key] = "pi-north\n"
        elif path.exists() and place.key != SOCKET and not place.key.startswith("restart"):
            text = path.read_text(encoding="utf-8")
            found[place.key] = re.sub(r"(?m)^psk=.*$", NO_PSK, text)
    return found


def card(changes: Mapping[str, str | None] | None = None, **fields: Any) -> Card:
    """Return the good card with other values. changes: texts of files by their keys; None: without it."""
    texts: dict[str, str | None] = {**files(), **(changes or {})}
    good = Card(
        host="pi-north",
        release=__version__,
        timezone="Europe/Berlin",
        user="pi",
        sudo_asks=True,
        keys=(KEY,),
        firewall=RULES,
        files={key: text for key, text in texts.items() if text is not None},
        secrets={"passphrase": PASSPHRASE, "password": PASSWORD},
    )
    return replace(good, **fields)


def edited(key: str, old: str, new: str) -> Card:
    """Return the good card with a part of one text replaced."""
    text = files()[key]
    assert old in text
    return card({key: text.replace(old, new)})


def data(changed: Card | None = None) -> bytes:
    """Return the good card's file, or another card's."""
    return render(changed or card(), _HEAD).encode()


class VirtualPi:
    """A Pi's files in a folder, its boot partition, and programs that do as little as needed."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.boot = folder / "boot"
        self.rules: list[str] = []
        self.commands: list[list[str]] = []
        self.fails: dict[str, str] = {}
        self.status = 1
        self.boot.mkdir(parents=True)
        self.write("/etc/hostname", "smart-meter\n")
        self.write("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tsmart-meter\n")
        self.write("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n")
        self.write("/etc/group", "root:x:0:\npi:x:1000:\n")
        self.write("/etc/shadow", "root:*:19000:0:99999:7:::\npi:!:19000:0:99999:7:::\n")
        self.write("/etc/ufw/ufw.conf", UFW_CONF)
        self.write("/etc/ufw/user.rules", "")
        self.write("/etc/ufw/user6.rules", "")
        self.write("/etc/default/ufw", 'DEFAULT_INPUT_POLICY="DROP"\n')
        self.write("/usr/share/zoneinfo/Europe/Berlin", "TZif")
        self.write("/usr/share/zoneinfo/Etc/UTC", "TZif")
        self.write("/home/pi/.profile", "")

    def write(self, path: str, text: str) -> None:
        """Write a file of the Pi."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def text(self, path: str) -> str:
        """Return a file of the Pi."""
        return (self.root / path.lstrip("/")).read_text(encoding="utf-8")

    def has(self, path: str) -> bool:
        """Whether something is there."""
        return (self.root / path.lstrip("/")).is_symlink() or (self.root / path.lstrip("/")).exists()

    def put(self, content: bytes) -> None:
        """Put a card on the boot partition."""
        (self.boot / "site-card.toml").write_bytes(content)

    @property
    def card(self) -> bytes:
        """What the card's file has."""
        return (self.boot / "site-card.toml").read_bytes()

    @property
    def answer(self) -> str:
        """The answer, as Notepad would show it."""
        content = (self.boot / "site-card-answer.txt").read_bytes()
        assert content.startswith(b"\xef\xbb\xbf")
        assert content.count(b"\n") == content.count(b"\r\n")
        return content.decode("utf-8-sig").replace("\r\n", "\n")

    def state(self) -> dict[str, Any]:
        """Return all files and links of the Pi."""
        found: dict[str, Any] = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = os.readlink(path)
            elif path.is_file():
                found[name] = (path.read_bytes(), path.stat().st_mode)
        return found

    def run(self, command: Sequence[str]) -> Done:
        """Stand for the Pi's programs."""
        words = list(command)
        self.commands.append(words)
        for part, message in self.fails.items():
            if part in " ".join(words):
                return Done(self.status, message)
        if words == ["ufw", "show", "added"]:
            return Done(0, "".join(f"{line}\n" for line in ["Added user rules (see ...):", *self._present()]))
        if words[0] == "useradd":
            self._add_user(words[-1])
        if words[0] == "userdel":
            self._remove_user(words[-1])
        if words[0] == "ufw":
            self._change(Path(words[2].partition("=")[2]), words[3:])
        return Done(0, "")

    def numbers(self, owner: str, group: str) -> tuple[int, int]:
        """Return this test's own user: it need not be root."""
        del owner, group
        return os.getuid(), os.getgid()

    def _add_user(self, name: str) -> None:
        for path, line in (
            ("/etc/passwd", f"{name}:x:1001:1001::/home/{name}:/bin/bash\n"),
            ("/etc/group", f"{name}:x:1001:\n"),
            ("/etc/shadow", f"{name}:!:19000:0:99999:7:::\n"),
        ):
            self.write(path, self.text(path) + line)
        self.write(f"/home/{name}/.profile", "")

    def _remove_user(self, name: str) -> None:
        for path in ("/etc/passwd", "/etc/group", "/etc/shadow"):
            lines = self.text(path).splitlines(keepends=True)
            self.write(path, "".join(line for line in lines if not line.startswith(f"{name}:")))
        shutil.rmtree(self.root / "home" / name)

    def _present(self) -> list[str]:
        return self.text("/etc/ufw/user.rules").splitlines()

    def _change(self, copy: Path, words: list[str]) -> None:
        """Do as ufw does with one rule in a copy of its folder."""
        assert "ENABLED=no" in (copy / "etc/ufw/ufw.conf").read_text(errors="replace")
        rules = copy / "etc/ufw/user.rules"
        lines = rules.read_text(encoding="utf-8").splitlines()
        if words[0] == "--force":
            bare = f"ufw {' '.join(words[2:])}"
            lines = [line for line in lines if not line.startswith(bare)]
        else:
            lines.append(f"ufw {' '.join(words[:-1])} '{words[-1]}'")
        rules.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
