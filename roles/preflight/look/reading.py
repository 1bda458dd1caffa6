"""Reads files that others may have written, and makes texts safe to display."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import re
import stat
from contextlib import suppress
from pathlib import Path

MAX_FILE = 1024 * 1024
MAX_TEXT = 400
MAX_HOSTS = 64 * 1024
IRREGULAR = "irregular"
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Control characters, characters that change the direction of text, and characters without width."""


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text that can be displayed: unprintable characters escaped, and not longer than the limit."""
    text = UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text[:limit])
    return text[:limit]


def matching(pattern: re.Pattern[str], text: str) -> str:
    """Return a text that matches as a whole, otherwise an empty one: the controller would refuse it."""
    return text if pattern.fullmatch(text) else ""


def read(path: Path, *, follow: bool = False, limit: int = MAX_FILE) -> bytes | None:
    """Return the content of a regular file; None if it is something else, longer, or not there."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        with open(os.open(path, flags), "rb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                content = file.read(limit + 1)
                return content if len(content) <= limit else None
    except OSError:
        pass
    return None


def text_of(path: Path, *, follow: bool = False) -> str:
    """Return a file's text, or an empty one."""
    return (read(path, follow=follow) or b"").decode("utf-8", "replace")


def names_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder; none if it can't be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def links(folder: Path) -> list[str]:
    """Return the targets of the links in a folder, such as a process's open files."""
    found = []
    for name in names_in(folder):
        with suppress(OSError):
            found.append(os.readlink(folder / name))
    return found


def fingerprint(path: Path) -> list[str] | str | None:
    """Return [SHA-256, mode, owner, group].

    None if nothing is there; IRREGULAR if it is not a small regular file, or can't be read.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MAX_FILE + 1) if stat.S_ISREG(status.st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return IRREGULAR
    if content is None or len(content) > MAX_FILE:
        return IRREGULAR
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    return [hashlib.sha256(content).hexdigest(), mode, user(status.st_uid), group(status.st_gid)]


def user(number: int) -> str:
    """Return a user's name, or the number if it has none."""
    try:
        return clean(pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)


def group(number: int) -> str:
    """Return a group's name, or the number if it has none."""
    try:
        return clean(grp.getgrgid(number).gr_name)
    except KeyError:
        return str(number)


def process_name(root: Path, number: int) -> str:
    """Return a process as `apt-get (pid 812)`."""
    name = clean(text_of(root / f"proc/{number}/comm").strip(), 32) or "a process"
    return f"{name} (pid {number})"
