#!/usr/bin/python
"""Write folders, files and links of the appliance in one round trip."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: managed_files
short_description: Write folders, files and links in one round trip
description:
  - What is right already stays as it is. In check mode nothing is written.
  - All files are stored beside their places and validated before the first of them is renamed into its place.
    So a mistake or a full card changes no file, and a power cut leaves the old file or the new one.
options:
  folders:
    description: Folders to create, in this order, each with C(path), C(mode), C(owner) and C(group).
    type: list
    elements: dict
    default: []
  files:
    description:
      - Files to write, in this order, each with C(path), C(text), C(mode), C(owner) and C(group).
      - C(validate) is a command that refuses a wrong text. In it, C(%s) is the path of a file with the text.
    type: list
    elements: dict
    default: []
  links:
    description: Symbolic links, each with C(path) and C(target), which has to exist.
    type: list
    elements: dict
    default: []
"""
RETURN = r"""
written:
  description: The paths that were changed, or would be in check mode.
  type: list
  returned: success
"""

# A file may belong to a user who could make it endless. None of ours is that large.
_LARGEST = 2**20
_PATH: dict[str, Any] = {"path": {"type": "path", "required": True}}
_OWNED: dict[str, Any] = {
    **_PATH,
    **{name: {"type": "str", "required": True} for name in ("mode", "owner", "group")},
}
_FILE: dict[str, Any] = {**_OWNED, "text": {"type": "str", "required": True}, "validate": {"type": "str"}}
_LINK: dict[str, Any] = {**_PATH, "target": {"type": "str", "required": True}}


class NotWrittenError(Exception):
    """What is in the way. The text is for people."""


class Writer:
    """Prepares what differs, then puts it in place.

    written: the paths that differ. differences: as Ansible shows them.
    """

    def __init__(self, check: bool, validate: Callable[[Mapping[str, str]], None]) -> None:
        self._check = check
        self._validate = validate
        self._ready: list[str] = []
        self.written: list[str] = []
        self.differences: list[dict[str, str]] = []

    def prepare_folder(self, wanted: Mapping[str, str]) -> None:
        """Create a folder, or correct who may use it."""
        path = wanted["path"]
        there = _at(path)
        if there and not stat.S_ISDIR(there.st_mode):
            raise NotWrittenError(f"{path}: is not a folder; move it away on the Pi")
        rights, wanted_rights = _rights(there) if there else "", _wanted_rights(wanted)
        if rights == wanted_rights:
            return
        self._note(path, rights, wanted_rights)
        if self._check:
            return
        owner, group = _numbers(wanted)
        if not there:
            os.mkdir(path, 0o700)
        os.chown(path, owner, group)
        os.chmod(path, int(wanted["mode"], 8))

    def prepare_file(self, wanted: Mapping[str, str]) -> None:
        """Store a file beside its place, unless the right one is there."""
        path, text = wanted["path"], wanted["text"].encode("utf-8", "surrogateescape")
        there = _at(path)
        if there and stat.S_ISDIR(there.st_mode):
            raise NotWrittenError(f"{path}: is a folder; move it away on the Pi")
        before = _bytes(path) if there and stat.S_ISREG(there.st_mode) else None
        rights, wanted_rights = _rights(there) if there else "", _wanted_rights(wanted)
        if (before, rights) == (text, wanted_rights):
            return
        if there and rights != wanted_rights:
            self._note(path, rights, wanted_rights)
        if before != text:
            self._note(path, (before or b"").decode("utf-8", "replace"), wanted["text"])
        if self._check:
            return
        owner, group = _numbers(wanted)
        # Nobody but root can read it before it has its owner and its mode.
        descriptor = os.open(self._beside(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text)
            os.fchown(descriptor, owner, group)
            os.fchmod(descriptor, int(wanted["mode"], 8))
            file.flush()
            os.fsync(descriptor)
        if wanted.get("validate"):
            self._validate(wanted)

    def prepare_link(self, wanted: Mapping[str, str]) -> None:
        """Make a link beside its place, unless the right one is there."""
        path, target = wanted["path"], wanted["target"]
        there = _at(path)
        if there and not stat.S_ISLNK(there.st_mode):
            raise NotWrittenError(f"{path}: is not a link; move it away on the Pi")
        before = os.readlink(path) if there else None
        if before == target:
            return
        self._note(path, f"-> {before}\n" if before else "", f"-> {target}\n")
        if self._check:
            return
        if not os.path.exists(os.path.join(os.path.dirname(path), target)):
            raise NotWrittenError(f"{path}: {target}, which it should link to, is not on the Pi")
        os.symlink(target, self._beside(path))

    def put_in_place(self) -> None:
        """Rename what was prepared, in its order."""
        while self._ready:
            os.rename(beside(self._ready[0]), self._ready[0])
            del self._ready[0]

    def discard(self) -> None:
        """Remove what was prepared and not put in place."""
        for path in self._ready:
            with suppress(OSError):
                os.unlink(beside(path))

    def _beside(self, path: str) -> str:
        """Return where to prepare a path; a run that was cut off may have left something there."""
        new = beside(path)
        with suppress(FileNotFoundError):
            os.unlink(new)
        self._ready.append(path)
        return new

    def _note(self, path: str, before: str, after: str) -> None:
        if path not in self.written:
            self.written.append(path)
        headers = {"before_header": path, "after_header": path}
        self.differences.append({**headers, "before": before, "after": after})


def beside(path: str) -> str:
    """Return where a file is prepared: hidden, and without the ending that a program looks for."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.new")


def _at(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _bytes(path: str) -> bytes:
    """Return what a file has; of one that is too large to be ours, only the beginning."""
    with open(path, "rb") as file:
        return file.read(_LARGEST + 1)


def _numbers(wanted: Mapping[str, str]) -> tuple[int, int]:
    """Return the numbers of the owner and the group."""
    try:
        return pwd.getpwnam(wanted["owner"]).pw_uid, grp.getgrnam(wanted["group"]).gr_gid
    except KeyError as error:
        raise NotWrittenError(
            f"{wanted['path']}: its owner or group is not on the Pi: {error.args[0]}"
        ) from None


def _wanted_rights(wanted: Mapping[str, str]) -> str:
    return f"mode {int(wanted['mode'], 8):04o}, owner {wanted['owner']}, group {wanted['group']}\n"


def _rights(there: os.stat_result) -> str:
    """Return who may use a file or a folder, as _wanted_rights does."""
    owner, group = str(there.st_uid), str(there.st_gid)
    with suppress(KeyError):
        owner = pwd.getpwuid(there.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(there.st_gid).gr_name
    kind = "a link, " if stat.S_ISLNK(there.st_mode) else ""
    return f"{kind}mode {stat.S_IMODE(there.st_mode):04o}, owner {owner}, group {group}\n"


def main() -> None:
    """Run as a module."""
    lists = {"folders": _OWNED, "files": _FILE, "links": _LINK}
    module = AnsibleModule(
        {
            name: {"type": "list", "elements": "dict", "default": [], "options": options}
            for name, options in lists.items()
        },
        supports_check_mode=True,
    )

    def validate(wanted: Mapping[str, str]) -> None:
        path, tried = wanted["path"], beside(wanted["path"])
        command = [part.replace("%s", tried) for part in shlex.split(wanted["validate"])]
        status, out, error = module.run_command(command)
        if status:
            reason = f"{error.strip()}\n{out.strip()}".strip().replace(tried, path)
            raise NotWrittenError(f"{path}: refused, and the old one stays: {reason}")

    writer = Writer(module.check_mode, validate)
    try:
        for name, prepare in (
            ("folders", writer.prepare_folder),
            ("files", writer.prepare_file),
            ("links", writer.prepare_link),
        ):
            for wanted in module.params[name]:
                prepare(wanted)
        writer.put_in_place()
    except (NotWrittenError, OSError) as problem:
        module.fail_json(msg=str(problem))
    finally:
        writer.discard()
    module.exit_json(changed=bool(writer.written), written=writer.written, diff=writer.differences)


if __name__ == "__main__":
    main()
