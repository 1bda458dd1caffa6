"""Reads what a Pi is: its system, names, users, packages and units."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from roles.preflight.look.commands import Command
from roles.preflight.look.reading import (
    MAX_HOSTS,
    clean,
    group,
    matching,
    names_in,
    process_name,
    read,
    text_of,
    user,
)

UNFINISHED = {"half-configured", "half-installed", "unpacked", "triggers-awaited", "triggers-pending"}
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,63}\$?")
_PATH = re.compile(r"/.*")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")
_ID = re.compile(r"[a-z0-9._-]{1,64}")
_PORT = re.compile(r"[0-9]{1,5}")
_LOCKS = (
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/lock",
    "var/lib/apt/lists/lock",
    "var/cache/apt/archives/lock",
)


def connection(root: Path) -> str:
    """Return SSH_CONNECTION, which sudo drops, from the nearest ancestor that has it."""
    process = os.getpid()
    while process > 1:
        environment = read(root / f"proc/{process}/environ") or b""
        found = re.search(
            rb"(?:^|\x00)SSH_CONNECTION=([0-9A-Fa-f.:%\w]+(?: [0-9A-Fa-f.:%\w]+){3})\x00", environment
        )
        if found:
            return found[1].decode("ascii", "replace")
        # The name in parentheses may contain anything.
        fields = text_of(root / f"proc/{process}/stat").rpartition(")")[2].split()
        process = int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
    return ""


def login(root: Path) -> dict[str, Any]:
    """Return the user that the controller logged in as, before sudo."""
    name = os.environ.get("SUDO_USER") or user(os.getuid())
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return {"name": matching(_LOGIN, name), "home": "", "shell": "", "has_key": False}
    folder = root / entry.pw_dir.lstrip("/") / ".ssh"
    # sshd follows links to these files, too. Only whether there is a key leaves this program.
    keys = "\n".join(text_of(folder / file, follow=True) for file in ("authorized_keys", "authorized_keys2"))
    has_key = re.search(r"(?m)^(?!\s*#).*(ssh|ecdsa|sk)-", keys) is not None
    return {
        "name": matching(_LOGIN, name),
        "home": matching(_PATH, clean(entry.pw_dir)),
        "shell": matching(_PATH, clean(entry.pw_shell)),
        "has_key": has_key,
    }


def users(wanted: list[str]) -> dict[str, Any]:
    """Return [group, home, shell, comment] of each user; None for one that does not exist."""
    found: dict[str, Any] = {}
    for name in wanted:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            found[name] = None
        else:
            record = [group(entry.pw_gid), entry.pw_dir, entry.pw_shell, entry.pw_gecos]
            found[name] = [clean(value) for value in record]
    return found


def is_claimed(root: Path) -> bool:
    """Return whether a run that changes the Pi has claimed it (roles/concentrator/files/claim.sh)."""
    until = text_of(root / "run/smart-meter-claim").partition("\n")[0]
    uptime = text_of(root / "proc/uptime").partition(".")[0]
    return until.isdigit() and uptime.isdigit() and int(until) > int(uptime)


def host_name(root: Path) -> dict[str, str]:
    """Return the present host name, /etc/hosts, and the name of the next start; an invalid name is empty."""
    hosts = text_of(root / "etc/hosts", follow=True)[:MAX_HOSTS]
    lines = ["\t".join(clean(part) for part in line.split("\t")) for line in hosts.split("\n")]
    return {
        "node": matching(_HOST_NAME, os.uname().nodename),
        "hosts": "\n".join(lines)[:MAX_HOSTS],
        "hostname": matching(_HOST_NAME, text_of(root / "etc/hostname", follow=True).strip()),
    }


def time_zone(root: Path) -> str:
    """Return the name of the time zone; empty if /etc/localtime is not a link to one."""
    try:
        target = os.readlink(root / "etc/localtime")
    except OSError:
        return ""
    return matching(_ZONE, target.partition("/zoneinfo/")[2])


def release(root: Path) -> dict[str, str]:
    """Return the distribution: `version` is empty for testing and unstable."""
    text = text_of(root / "etc/os-release", follow=True) or text_of(root / "usr/lib/os-release")
    fields = {name: value.strip("\"'") for name, value in re.findall(r"(?m)^(\w+)=(.*)$", text)}
    return {
        "id": matching(_ID, fields.get("ID", "")),
        "name": clean(fields.get("NAME", "")),
        "version": clean(fields.get("VERSION_ID", "")),
        "debian": clean(text_of(root / "etc/debian_version", follow=True).strip()),
    }


def packages(listed: Command) -> tuple[dict[str, str], bool]:
    """Return the installed packages with their versions, and whether one is not completely installed."""
    rows = [row.split(" ") for row in listed.lines if row.count(" ") == 2]
    installed = {name: version for name, state, version in rows if state == "installed"}
    return installed, any(state in UNFINISHED for _, state, _ in rows)


def holder_of_dpkg(root: Path) -> str:
    """Return who has locked dpkg or apt, as `apt-get (pid 812)`; empty if nobody has."""
    return next(filter(None, (_holder_of_lock(root, root / path) for path in _LOCKS)), "")


def _holder_of_lock(root: Path, path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        # struct flock of fcntl(2), on 64 bits: type, whence, start, length, process.
        asked = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, process = struct.unpack("hhqqi0q", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except (OSError, struct.error):
        return ""
    finally:
        os.close(descriptor)
    return "" if kind == fcntl.F_UNLCK else process_name(root, process)


def units(names: list[str], shown: list[Command]) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Return [ActiveState, UnitFileState] of each unit, and the main process of those that run.

    shown: one `systemctl show` of all, or one `systemctl is-enabled` of each where systemd does not run.
    """
    if len(shown) == len(names):
        # Its exit status is also that of a unit that is not enabled.
        states = [command.content.decode("utf-8", "replace").strip() for command in shown]
        return {name: ["", clean(states[place])] for place, name in enumerate(names)}, {}
    blocks = shown[0].output.strip("\n").split("\n\n")
    if len(blocks) != len(names):
        return {name: ["", ""] for name in names}, {}
    found, processes = {}, {}
    for place, name in enumerate(names):
        fields = dict(line.split("=", 1) for line in blocks[place].split("\n") if "=" in line)
        found[name] = [clean(fields.get("ActiveState", "")), clean(fields.get("UnitFileState", ""))]
        processes[name] = int(fields["MainPID"]) if fields.get("MainPID", "").isdigit() else 0
    return found, processes


def is_image(root: Path) -> bool:
    """Return whether the system is an image of ours: the file is on the read-only root (tools/image)."""
    return (root / "usr/lib/smart-meter/image").exists()


def root_file_system(root: Path, words: list[str]) -> dict[str, Any]:
    """Return whether the root file system is an overlay, and whether changes are lost at the next restart."""
    mounts = []
    for line in text_of(root / "proc/self/mountinfo").split("\n"):
        left, _, right = line.partition(" - ")
        if len(left.split(" ")) > 4 and len(right.split(" ")) > 2:
            mounts.append((left.split(" ")[4], right.split(" ")[0], right.split(" ")[2]))
    if is_image(root):
        kind = next((kind for at, kind, _ in reversed(mounts) if at == "/state"), "")
        why = "" if kind == "ext4" else "the state partition is not in use"
        return {"overlay": False, "volatile": bool(why), "why": why, "ours": True}
    kind, options = next(((kind, options) for at, kind, options in reversed(mounts) if at == "/"), ("", ""))
    if kind != "overlay":
        why = f"a {kind}" if kind in ("tmpfs", "ramfs") else ""
        return {"overlay": False, "volatile": bool(why), "why": why, "ours": False}
    upper = re.search(r"(?:^|,)upperdir=([^,]+)", options)
    # The longest mount point that the folder is below; the overlay itself does not count.
    below = [each for each in mounts if upper and each[0] != "/" and f"{upper[1]}/".startswith(f"{each[0]}/")]
    why = ""
    if "boot=overlay" in words:
        why = "boot=overlay"
    elif any(word.startswith("overlayroot=") and word != "overlayroot=disabled" for word in words):
        why = next(word for word in words if word.startswith("overlayroot="))
    elif below and max(below, key=lambda each: len(each[0]))[1] == "tmpfs":
        why = "upperdir on a tmpfs"
    return {"overlay": True, "volatile": bool(why), "why": clean(why), "ours": False}


def has_passphrase(root: Path) -> bool:
    """Return whether a file of Raspberry Pi Imager on the boot partition has a Wi-Fi passphrase."""
    files = ("network-config", "wpa_supplicant.conf", "custom.toml")
    text = "\n".join(text_of(root / "boot/firmware" / file) for file in files)
    return re.search(r"(?m)^(?!\s*#).*\b(password|psk)\b[\"']?\s*[:=]\s*[\"']?\S", text) is not None


def byport(root: Path) -> dict[str, str]:
    """Return who may bind which port by authbind: the owner of each file, by its name."""
    found = {}
    folder = root / "etc/authbind/byport"
    for name in filter(_PORT.fullmatch, names_in(folder)):
        with suppress(OSError):
            found[name] = user((folder / name).lstat().st_uid)
    return found
