"""The folder of the boot partition (FAT): the card, and the answer beside it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smart_meter.config.small_file import read_small
from smart_meter.site_card.card import (
    MAX_BYTES,
    NAME,
    CardError,
    canonical,
    is_whole,
    refused,
    without_secrets,
)
from smart_meter.site_card.commands import Run

ANSWER = "site-card-answer.txt"
_NEW = f"{NAME}.new"
_BOM = "\ufeff"
_ROOM = 64 * 1024
# Names that people and programs give to a card: "site-card (1).toml", "Site card.toml.txt", "pi-north.toml".
# "SITE-C~1.TOM" is what FAT has of it without its long name.
_LIKE_A_CARD = re.compile(r"site[ _-]?card|site-c~|\.toml(?:\.|$)")
_OURS = frozenset({NAME, _NEW, ANSWER, f"{ANSWER}.new"})


class BootPartition:
    """The folder at which the partition is mounted, read-only except while something is written."""

    def __init__(self, folder: Path, run: Run) -> None:
        self._folder = folder
        self._run = run
        # FAT does not distinguish upper and lower case.
        named = (entry for entry in _entries(folder) if entry.name.casefold() == NAME)
        self._card = next(named, folder / NAME)

    def read(self) -> bytes | None:
        """Return the card's content; None if there is none. Raises CardError if it is not a readable file."""
        self._finish()
        try:
            return read_small(self._card, MAX_BYTES, follow=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise refused("", f"is over {MAX_BYTES // 1024} KiB long, which no site card is") from None
            kind = "is not a file" if error.errno in (errno.EINVAL, errno.ELOOP) else "can't be read"
            detail = f"{kind} ({error.strerror})"
            raise refused("", f"{detail}; delete it, and copy the card again") from None

    def remove_secrets(self, data: bytes) -> None:
        """Write the card without its secrets, and overwrite the old content. Raises OSError.

        A power cut leaves the card, or the new one under another name, which the next start puts in place.
        If there can't be a second file, as on a full partition, the card is overwritten where it is: then a
        power cut may leave a torn card.
        """
        text = canonical(data)
        shorter = without_secrets(text)
        if shorter.rstrip("\n") == text.rstrip("\n"):
            return
        old, new = self._card, self._folder / _NEW
        with self._writable():
            try:
                _write(new, shorter.encode())
            except OSError:
                _overwrite(old, shorter.encode().ljust(len(data), b"\n"))
                return
            _overwrite(old, bytes(len(data)))
            os.replace(new, old)
            _sync(self._folder)

    def has_answer(self) -> bool:
        """Return whether there is an answer to an earlier card."""
        return (self._folder / ANSWER).is_file()

    def answer(self, lines: list[str]) -> None:
        """Write the answer for people, unless it is there already. Raises OSError.

        Windows Notepad shows it: UTF-8 with a byte order mark, and CRLF line ends.
        """
        content = (_BOM + "".join(f"{line}\r\n" for line in lines)).encode()
        path = self._folder / ANSWER
        with suppress(OSError):
            if read_small(path, follow=False) == content:
                return
        new = path.with_name(f"{ANSWER}.new")
        with self._writable():
            try:
                _write(new, content)
            except OSError:
                if not path.is_file():
                    raise
                _overwrite(path, content)
            else:
                os.replace(new, path)
            _sync(self._folder)

    def _finish(self) -> None:
        """Put a card in place that a power cut left under its other name."""
        new = self._folder / _NEW
        try:
            data = read_small(new, MAX_BYTES, follow=False)
        except OSError:
            return
        with suppress(OSError), self._writable():
            if _is_card(data) and not _is_card(self._content()):
                os.replace(new, self._card)
            else:
                new.unlink()
            _sync(self._folder)

    def _content(self) -> bytes:
        try:
            return read_small(self._card, MAX_BYTES, follow=False)
        except OSError:
            return b""

    @contextmanager
    def _writable(self) -> Iterator[None]:
        read_only = os.statvfs(self._folder).f_flag & os.ST_RDONLY and os.path.ismount(self._folder)
        if read_only:
            self._run(["mount", "-o", "remount,rw", str(self._folder)])
        try:
            yield
        finally:
            if read_only:
                self._run(["mount", "-o", "remount,ro", str(self._folder)])


def misnamed(folder: Path) -> list[str]:
    """Return the names of files that may be site cards, and are not read because of their names."""
    return sorted(name for entry in _entries(folder) if (name := _misnamed(entry)))


def is_full(folder: Path) -> bool:
    """Return whether there is hardly any room for a card and its answer."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _ROOM


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _misnamed(entry: Path) -> str:
    """Return a name that a card should not have; empty if the entry is not like a card."""
    name = entry.name.casefold()
    # With a dot or "~" in front, it is some program's own file, such as macOS's "._site-card.toml".
    if name in _OURS or name.startswith((".", "~")):
        return ""
    # On a damaged file system, an entry may raise any error.
    with suppress(OSError):
        if entry.is_dir():
            return f"{entry.name}/{NAME}" if (entry / NAME).is_file() else ""
    return entry.name if _LIKE_A_CARD.search(name) else ""


def _is_card(data: bytes) -> bool:
    try:
        return is_whole(canonical(data))
    except CardError:
        return False


def _write(path: Path, content: bytes) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        # On a full partition, part of it would be left.
        with suppress(OSError):
            path.unlink()
        raise


def _overwrite(path: Path, content: bytes) -> None:
    """Overwrite a file where it is: its blocks stay readable after it was replaced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "wb") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Not every file system can do it for a folder.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
