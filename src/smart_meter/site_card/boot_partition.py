"""The folder of the boot partition (FAT): the card, and the answer beside it."""

from __future__ import annotations

import errno
import os
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


class BootPartition:
    """The folder at which the partition is mounted, read-only except while something is written."""

    def __init__(self, folder: Path, run: Run) -> None:
        self._folder = folder
        self._run = run

    def read(self) -> bytes | None:
        """Return the card's content; None if there is none. Raises CardError if it is not a readable file."""
        self._finish()
        path = self._folder / NAME
        try:
            return read_small(path, MAX_BYTES, follow=False)
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
        """
        text = canonical(data)
        shorter = without_secrets(text)
        if shorter == text:
            return
        old, new = self._folder / NAME, self._folder / _NEW
        with self._writable():
            _write(new, shorter.encode())
            _overwrite(old, len(data))
            os.replace(new, old)
            _sync(self._folder)

    def answer(self, lines: list[str]) -> None:
        """Write the answer for people, unless it is there already. Raises OSError.

        Windows Notepad shows it: UTF-8 with a byte order mark, and CRLF line ends.
        """
        content = (_BOM + "".join(f"{line}\r\n" for line in lines)).encode()
        path = self._folder / ANSWER
        with suppress(OSError):
            if read_small(path, follow=False) == content:
                return
        with self._writable():
            new = path.with_name(f"{ANSWER}.new")
            _write(new, content)
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
                os.replace(new, self._folder / NAME)
            else:
                new.unlink()
            _sync(self._folder)

    def _content(self) -> bytes:
        try:
            return read_small(self._folder / NAME, MAX_BYTES, follow=False)
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


def _is_card(data: bytes) -> bool:
    try:
        return is_whole(canonical(data))
    except CardError:
        return False


def _write(path: Path, content: bytes) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _overwrite(path: Path, length: int) -> None:
    """Overwrite a file where it is: its blocks stay readable after it was replaced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "wb") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.write(bytes(length))
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
