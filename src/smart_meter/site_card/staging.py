"""Prepares files beside their places, then puts all of them in place: a failure before that changes nothing.

Ansible's module managed_files does the same. A power cut between two renames leaves some of the new files:
the card does not count as applied yet, and the next boot applies all of it again.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from smart_meter.config.small_file import read_small


class InTheWayError(Exception):
    """Something else is in a file's place. The text is for people."""


class Staging:
    """Changes that are prepared and not yet in place.

    root: the folder that has the Pi's files. numbers: returns the numbers of a user and a group.
    changed: the paths that differ. digests: by path, the SHA-256 of each file that was asked for.
    """

    def __init__(self, root: Path, numbers: Callable[[str, str], tuple[int, int]]) -> None:
        self._root = root
        self._numbers = numbers
        self._marker: tuple[Path, Path] | None = None
        self._ready: list[Path] = []
        self._unwanted: list[Path] = []
        self.changed: list[str] = []
        self.digests: dict[str, str] = {}

    def at(self, path: str) -> Path:
        """Return where a path of the Pi is."""
        return self._root / path.lstrip("/")

    def file(self, path: str, content: bytes, mode: int, owner: str = "root", group: str = "root") -> None:
        """Prepare a file, unless it is there already. Raises OSError and InTheWayError."""
        place = self.at(path)
        self.digests[path] = hashlib.sha256(content).hexdigest()
        user, users = self._numbers(owner, group)
        there = _status(place)
        if there and stat.S_ISDIR(there.st_mode):
            raise InTheWayError(f"{path} is a folder")
        if there and stat.S_ISREG(there.st_mode):
            rights = (stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid)
            if rights == (mode, user, users) and _content(place) == content:
                return
        self.folder(os.path.dirname(path))
        new = self._beside(place)
        _write(new, content, mode, (user, users))
        self.changed.append(path)

    def marker(self, path: str, content: bytes) -> None:
        """Prepare what a file, which is there, contains from before the first change until the last one."""
        place = self.at(path)
        new = place.with_name(f".{place.name}.marker.new")
        new.unlink(missing_ok=True)
        self._marker = (new, place)
        _write(new, content, 0o600)

    def keep(self, path: str) -> None:
        """Note the digest of a file that stays as it is."""
        content = _content(self.at(path))
        if content is not None:
            self.digests[path] = hashlib.sha256(content).hexdigest()

    def link(self, path: str, target: str) -> None:
        """Prepare a symbolic link, unless it is there already. Raises OSError and InTheWayError."""
        place = self.at(path)
        there = _status(place)
        if there and not stat.S_ISLNK(there.st_mode):
            raise InTheWayError(f"{path} is not a link")
        if there and os.readlink(place) == target:
            return
        self.folder(os.path.dirname(path))
        os.symlink(target, self._beside(place))
        self.changed.append(path)

    def remove(self, path: str) -> None:
        """Remove a file or a link when the others are put in place."""
        there = _status(self.at(path))
        if there and stat.S_ISDIR(there.st_mode):
            raise InTheWayError(f"{path} is a folder")
        if there:
            self._unwanted.append(self.at(path))
            self.changed.append(path)

    def folder(self, path: str, mode: int = 0o755, owner: str = "root", group: str = "root") -> None:
        """Create a folder, with those above it, if it is not there. Raises OSError and InTheWayError."""
        place = self.at(path)
        there = _status(place)
        if there:
            if not place.is_dir():
                raise InTheWayError(f"{path} is not a folder")
            return
        self.folder(os.path.dirname(path))
        place.mkdir(mode=0o700)
        os.chown(place, *self._numbers(owner, group))
        place.chmod(mode)

    def private(self, path: str) -> None:
        """Create a folder for root only, or make one so that others may read: an image's is."""
        self.folder(path, 0o700)
        self.at(path).chmod(0o700)

    def put_in_place(self) -> None:
        """Remove what is unwanted and rename what was prepared, in its order.

        The last file is renamed once everything else is on the storage. Raises OSError.
        """
        if self._marker:
            new, place = self._marker
            os.rename(new, place)
            self._marker = None
            _sync({place.parent})
        for path in self._unwanted:
            path.unlink(missing_ok=True)
        self._rename(len(self._ready) - 1)
        _sync({path.parent for path in self._unwanted})
        self._rename(len(self._ready))

    def _rename(self, count: int) -> None:
        """Rename the next files, and write their folders to the storage."""
        folders = {path.parent for path in self._ready[:count]}
        for _ in range(count):
            os.rename(_new(self._ready[0]), self._ready[0])
            del self._ready[0]
        _sync(folders)

    def discard(self) -> None:
        """Remove what was prepared and not put in place."""
        for new in (*map(_new, self._ready), *(self._marker or ())[:1]):
            with suppress(OSError):
                new.unlink()

    def _beside(self, place: Path) -> Path:
        """Return where to prepare a file; an earlier start may have left something there."""
        new = _new(place)
        new.unlink(missing_ok=True)
        self._ready.append(place)
        return new


def _new(place: Path) -> Path:
    return place.with_name(f".{place.name}.new")


def _write(new: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        if owner:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)


def _sync(folders: set[Path]) -> None:
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _status(place: Path) -> os.stat_result | None:
    try:
        return place.lstat()
    except FileNotFoundError:
        return None


def _content(place: Path) -> bytes | None:
    try:
        return read_small(place, follow=False)
    except OSError:
        return None
