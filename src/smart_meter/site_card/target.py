"""The Pi that a card is for: what it has now, and what a card changes on it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from smart_meter.config.small_file import read_small
from smart_meter.site_card import firewall, keyfile
from smart_meter.site_card.card import PASSPHRASE, PASSWORD, refused
from smart_meter.site_card.checks import Checked
from smart_meter.site_card.commands import Run
from smart_meter.site_card.places import (
    HOST_NAME,
    PLACES,
    PROFILES,
    SERVICE_USER,
    SOCKET,
    SSHD,
    Place,
)
from smart_meter.site_card.record import PATH as RECORD
from smart_meter.site_card.staging import Staging

IMAGE_NAMES = frozenset({"", "localhost", "smart-meter", "debian"})
"""Host names of an image that no card and no inventory has named yet."""

_ZONES = "/usr/share/zoneinfo/"
_BYPORT = "/etc/authbind/byport"
_SUDOERS = "/etc/sudoers.d/90-smart-meter-card"
_RULES = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules")
IMAGE_REPORT = "/run/smart-meter-image/state.json"
_FOLDERS = (
    "/etc",
    "/home",
    "/root",
    "/usr/local/sbin",
    "/var/lib/smart-meter-guard",
    os.path.dirname(RECORD),
)
# As the initrd's mounts.py reports a folder.
_IN_MEMORY = re.compile(rf"(?:{'|'.join(map(re.escape, _FOLDERS))}) is kept in memory")
# useradd's statuses after which the user may be there. 12: no room for its home. 124: commands.run ended it.
_MADE = (0, 12, 124)
_PROFILES = frozenset(PROFILES.values())
Numbers = Callable[[str, str], tuple[int, int]]


class Target:
    """The files and programs of a Pi.

    root: the folder that has its files; only tests give another one. lacking: the secrets that neither the
    card nor the Pi has; what needs them is left out.
    """

    def __init__(self, root: Path, run: Run, numbers: Numbers | None = None) -> None:
        self._root = root
        self._run = run
        self._numbers = numbers or self._numbers_of
        self._new_user = ""
        self.lacking: list[str] = []

    def host_name(self) -> str:
        """Return the name in /etc/hostname; empty if none is there."""
        return (self._text("/etc/hostname") or "").strip()

    def keeps_changes(self) -> bool:
        """Return whether a card's files survive a restart; on an image, they may be in memory only."""
        try:
            report = json.loads(read_small(self._at(IMAGE_REPORT), follow=False))
            problems = [str(problem) for problem in report.get("problems", [])]
            return report.get("kind") != "memory" and not any(map(_IN_MEMORY.match, problems))
        except (OSError, ValueError, AttributeError, TypeError):
            # It is not an image, or the report is damaged.
            return True

    def prepare(self, checked: Checked) -> Staging:
        """Prepare everything that a card changes, and validate it. Raises CardError, OSError, InTheWayError.

        The caller puts it in place, or discards it and calls `discard`.
        """
        staging = Staging(self._root, self._numbers)
        try:
            self._prepare(checked, staging)
        except BaseException:
            staging.discard()
            self.discard()
            raise
        return staging

    def discard(self) -> None:
        """Remove the login user again if it was created. It has no password and no key then."""
        if self._new_user:
            self._run(["userdel", "--remove", self._new_user])
            self._new_user = ""

    def _make_user(self, name: str) -> None:
        """Create the login user if it is not there. Raises CardError.

        Nothing of it can be prepared beside its place, so it is created after everything else was validated.
        """
        if self._user(name) is None:
            groups = "adm,sudo,netdev"
            done = self._run(["useradd", "--create-home", "--shell", "/bin/bash", "--groups", groups, name])
            if done.status in _MADE:
                self._new_user = name
            if done.status:
                raise refused("login.user", f'the user "{name}" can\'t be created: {_line(done.output)}')

    def _prepare(self, checked: Checked, staging: Staging) -> None:
        card = checked.card
        staging.private(os.path.dirname(RECORD))
        staging.folder("/etc/smart-meter", 0o750, group=SERVICE_USER)
        staging.folder("/var/lib/smart-meter-guard", 0o700)
        staging.folder("/var/lib/smart-meter-guard/profiles", 0o700)
        for place in PLACES:
            self._prepare_place(place, checked, staging)
        self._prepare_names(card.files[HOST_NAME].strip(), staging)
        self._prepare_time_zone(card.timezone, staging)
        self._prepare_port(checked, staging)
        self._prepare_rules(card.firewall, staging)
        if SSHD in card.files:
            self._check_sshd(staging)
        self._make_user(card.user)
        self._prepare_login(checked, staging)

    def _prepare_place(self, place: Place, checked: Checked, staging: Staging) -> None:
        text = checked.card.files.get(place.key)
        if text is None:
            # The link first: a unit that is enabled and not there would be an error.
            for path in (place.link, place.path, place.copy):
                if path:
                    staging.remove(path)
            return
        if place.key in _PROFILES and keyfile.NO_PSK in text.split("\n"):
            passphrase = self._passphrase(checked, place)
            if not passphrase:
                self.lacking.append(PASSPHRASE)
                for path in (place.path, place.copy):
                    staging.remove(path)
                return
            text = keyfile.with_passphrase(text, passphrase)
        for path in filter(None, (place.path, place.copy)):
            staging.file(path, text.encode(), place.mode, place.owner, place.group)
        if place.link:
            staging.link(place.link, place.path)

    def _passphrase(self, checked: Checked, place: Place) -> str:
        """Return the card's passphrase, or the one that the Pi has; empty if there is none."""
        if found := checked.card.secrets.get(PASSPHRASE):
            return found
        present = (keyfile.passphrase_of(self._text(path) or "") for path in (place.path, place.copy))
        return next(filter(None, present), "")

    def _prepare_names(self, name: str, staging: Staging) -> None:
        """Add the Pi's name to /etc/hosts; sudo looks it up. A line that has it stays as it is."""
        lines = (self._text("/etc/hosts") or "127.0.0.1\tlocalhost\n").splitlines()
        own = [number for number, line in enumerate(lines) if re.match(r"\s*127\.0\.1\.1\s", line)]
        names = [word for number in own for word in lines[number].partition("#")[0].split()[1:]]
        if name.lower() in (word.lower() for word in names):
            return
        line = f"127.0.1.1\t{name}"
        if own:
            lines[own[0]] = line
        else:
            lines.append(line)
        staging.file("/etc/hosts", _bytes(lines), 0o644)

    def _prepare_time_zone(self, name: str, staging: Staging) -> None:
        if not (self._at(_ZONES) / name).is_file():
            raise refused(
                "timezone", f'"{name}" is not a time zone of this Pi; give one such as Europe/Berlin'
            )
        target = _ZONES + name
        with suppress(OSError):
            # "../usr/share/zoneinfo/Etc/UTC" is the same.
            if os.readlink(self._at("/etc/localtime")).endswith(target):
                return
        staging.link("/etc/localtime", target)

    def _prepare_login(self, checked: Checked, staging: Staging) -> None:
        card = checked.card
        user = self._user(card.user)
        if user is None:
            raise refused(
                "login.user", f'the user "{card.user}" is not on this Pi; flash an image that has it'
            )
        home, group = user
        if card.keys:
            folder = f"{home}/.ssh"
            if self._at(folder).is_symlink():
                raise refused("login.keys", f"{folder} is a link; remove it on the Pi")
            staging.folder(folder, 0o700, card.user, group)
            text = "".join(f"{key}\n" for key in card.keys)
            staging.file(f"{folder}/authorized_keys", text.encode(), 0o600, card.user, group)
        if card.sudo_asks:
            staging.remove(_SUDOERS)
        else:
            staging.file(_SUDOERS, f"{card.user} ALL=(ALL:ALL) NOPASSWD: ALL\n".encode(), 0o440)
        self._prepare_password(checked, staging)

    def _prepare_password(self, checked: Checked, staging: Staging) -> None:
        card = checked.card
        lines = (self._text("/etc/shadow") or "").splitlines()
        mine = [number for number, line in enumerate(lines) if line.startswith(f"{card.user}:")]
        fields = lines[mine[0]].split(":") if mine else []
        wanted = card.secrets.get(PASSWORD)
        if wanted is None:
            if card.sudo_asks and card.user != "root" and not (len(fields) > 1 and fields[1].startswith("$")):
                self.lacking.append(PASSWORD)
            return
        if len(fields) < 2:
            raise refused(
                "login.user", f'the user "{card.user}" is not in /etc/shadow; flash the image again'
            )
        fields[1] = wanted
        lines[mine[0]] = ":".join(fields)
        staging.file("/etc/shadow", _bytes(lines), 0o640, group="shadow")

    def _prepare_port(self, checked: Checked, staging: Staging) -> None:
        """Permit the service user its port, and no other one; create folders for its files."""
        config = checked.config
        wanted = None if SOCKET in checked.card.files else f"{_BYPORT}/{config.server.port}"
        if wanted:
            staging.file(wanted, b"", 0o500, SERVICE_USER, SERVICE_USER)
        own = self._numbers(SERVICE_USER, SERVICE_USER)[0]
        for path in _files_in(self._at(_BYPORT)):
            name = f"{_BYPORT}/{path.name}"
            if name != wanted and not path.name.startswith(".") and path.lstat().st_uid == own:
                staging.remove(name)
        for file in filter(None, (config.history.path, config.events.path)):
            if os.path.dirname(file) != "/var/lib/smart-meter":
                staging.folder(os.path.dirname(file), 0o750, SERVICE_USER, SERVICE_USER)

    def _prepare_rules(self, wanted: Sequence[str], staging: Staging) -> None:
        """Let ufw write its rules into a copy of its folder, to be put in place with everything else."""
        done = self._run(["ufw", "show", "added"])
        if done.status:
            raise refused("firewall", f"ufw does not answer: {_line(done.output)}; flash the image again")
        present = [line for line in done.output.splitlines() if line.startswith("ufw ")]
        if sorted(present) != sorted(wanted):
            copy = self._at("/run/smart-meter-card")
            shutil.rmtree(copy, ignore_errors=True)
            try:
                self._rules_in(copy, wanted, present)
                for path in _RULES:
                    staging.file(path, read_small(copy / path.lstrip("/"), follow=False), 0o640)
            finally:
                shutil.rmtree(copy, ignore_errors=True)
        else:
            for path in _RULES:
                staging.keep(path)
        settings = self._text("/etc/ufw/ufw.conf") or ""
        enabled = re.sub(r"(?m)^ENABLED=.*$", "ENABLED=yes", settings)
        if enabled != settings:
            staging.file("/etc/ufw/ufw.conf", enabled.encode(errors="surrogateescape"), 0o644)

    def _rules_in(self, copy: Path, wanted: Sequence[str], present: Sequence[str]) -> None:
        """Change the rules in a copy of ufw's folder, in which it is disabled: the kernel's stay."""
        copy.mkdir(mode=0o755, parents=True)
        shutil.copytree(self._at("/etc/ufw"), copy / "etc/ufw")
        (copy / "etc/default").mkdir()
        shutil.copy(self._at("/etc/default/ufw"), copy / "etc/default/ufw")
        (copy / "lib/ufw").mkdir(parents=True)
        settings = copy / "etc/ufw/ufw.conf"
        settings.write_bytes(re.sub(rb"(?m)^ENABLED=.*$", b"ENABLED=no", settings.read_bytes()))
        for words in firewall.commands(wanted, present):
            done = self._run(["ufw", "--rootdir=/", f"--datadir={copy}", *words])
            if done.status:
                raise refused("firewall", f"ufw refuses `{' '.join(words)}`: {_line(done.output)}")

    def _check_sshd(self, staging: Staging) -> None:
        """Let sshd read its settings as they will be."""
        place = staging.at("/etc/ssh/sshd_config.d/10-smart-meter.conf")
        new = place.with_name(f".{place.name}.new")
        if not new.exists():
            return
        done = self._run(["sshd", "-G", "-f", str(new)])
        if done.status:
            raise refused(f"files.{SSHD}", f"sshd refuses it: {_line(done.output)}; make the card again")

    def _user(self, name: str) -> tuple[str, str] | None:
        """Return a user's home and the name of its group; None if there is no such user."""
        for fields in self._fields("/etc/passwd", 7):
            if fields[0] == name:
                groups = [group[0] for group in self._fields("/etc/group", 4) if group[2] == fields[3]]
                return fields[5], groups[0] if groups else fields[3]
        return None

    def _numbers_of(self, owner: str, group: str) -> tuple[int, int]:
        users = [fields[2] for fields in self._fields("/etc/passwd", 7) if fields[0] == owner]
        groups = [fields[2] for fields in self._fields("/etc/group", 4) if fields[0] == group]
        if not users or not groups:
            raise refused("", f"this Pi has no user {owner} or no group {group}; flash the image again")
        return int(users[0]), int(groups[0])

    def _fields(self, path: str, count: int) -> Iterator[list[str]]:
        for line in (self._text(path) or "").splitlines():
            fields = line.split(":")
            if len(fields) == count:
                yield fields

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _content(self, path: str) -> bytes | None:
        try:
            return read_small(self._at(path), follow=False)
        except OSError:
            return None

    def _text(self, path: str) -> str | None:
        content = self._content(path)
        return None if content is None else content.decode(errors="surrogateescape")


def _bytes(lines: Sequence[str]) -> bytes:
    """Return lines as `Target._text` returns them, which may not be UTF-8."""
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _line(output: str) -> str:
    """Return a program's output on one line for a message."""
    words = " ".join(output.split())
    return words if len(words) <= 200 else f"{words[:199]}…"
