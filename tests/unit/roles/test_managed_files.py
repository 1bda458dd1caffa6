"""What a role writes: which files differ, and how the module managed_files writes them."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from playbooks.filter_plugins.managed import differing, with_texts
from playbooks.library.managed_files import NotWrittenError, Writer, beside

PATH = "/etc/x.conf"
FILES = {PATH: {"mode": "0644", "owner": "root", "group": "root"}}
TEXT = "a = ä\n"
SAME = [hashlib.sha256(TEXT.encode()).hexdigest(), "0644", "root", "root"]


def test_a_file_that_is_as_it_has_to_be_does_not_differ() -> None:
    assert differing({PATH: SAME, "/etc/other": None}, FILES, [TEXT]) == []


@pytest.mark.parametrize(
    "found",
    [None, "irregular", ["0" * 64, *SAME[1:]], *([*SAME[:at], "x", *SAME[at + 1 :]] for at in (1, 2, 3))],
)
def test_everything_about_a_file_counts(found: Any) -> None:
    assert differing({PATH: found}, FILES, [TEXT]) == [PATH]


def test_texts_belong_to_files_by_their_order() -> None:
    files = {PATH: FILES[PATH], "/etc/y.conf": FILES[PATH]}

    assert differing({PATH: SAME, "/etc/y.conf": SAME}, files, [TEXT, "b"]) == ["/etc/y.conf"]


def test_a_mistake_in_a_role_is_not_taken_for_a_difference() -> None:
    with pytest.raises(AnsibleFilterError, match=r"did not ask for /etc/x\.conf"):
        differing({}, FILES, [TEXT])
    with pytest.raises(AnsibleFilterError, match="1 files and 0 texts"):
        differing({PATH: SAME}, FILES, [])


def test_what_is_written_has_its_text_and_in_the_order_of_the_role() -> None:
    files = {PATH: FILES[PATH], "/etc/y.conf": FILES[PATH], "/etc/z.conf": FILES[PATH]}
    texts = ["x", "y", "z"]

    assert with_texts(files, texts, ["/etc/z.conf", PATH], {PATH: "check %s"}) == [
        {**FILES[PATH], "path": PATH, "text": "x", "validate": "check %s"},
        {**FILES[PATH], "path": "/etc/z.conf", "text": "z"},
    ]


def test_a_path_that_the_role_does_not_manage_is_a_mistake() -> None:
    with pytest.raises(AnsibleFilterError, match=r"does not manage /etc/other"):
        with_texts(FILES, [TEXT], ["/etc/other"])


OWN = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


def accept(wanted: Mapping[str, str]) -> None:
    """Validate nothing."""


def write(
    files: Sequence[Mapping[str, str]],
    *,
    check: bool = False,
    validate: Callable[[Mapping[str, str]], None] = accept,
) -> Writer:
    writer = Writer(check, validate)
    try:
        for file in files:
            writer.prepare_file({**OWN, "mode": "0640", **file})
        writer.put_in_place()
    finally:
        writer.discard()
    return writer


def test_a_file_is_written_with_who_may_use_it(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    writer = write([{"path": str(path), "text": TEXT}])

    assert writer.written == [str(path)]
    assert writer.differences[0]["before"] == ""
    assert (path.read_text(encoding="utf-8"), stat.S_IMODE(path.stat().st_mode)) == (TEXT, 0o640)
    assert write([{"path": str(path), "text": TEXT}]).written == []


def test_only_the_mode_is_corrected_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text(TEXT, encoding="utf-8")
    path.chmod(0o666)
    [difference] = write([{"path": str(path), "text": TEXT}]).differences

    assert "mode 0666" in difference["before"]
    assert "mode 0640" in difference["after"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_in_check_mode_the_difference_is_shown_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("old\n", encoding="utf-8")
    # Its folder, and its owner, may be made by the run.
    new = {"path": str(tmp_path / "new/b.conf"), "text": TEXT, "owner": "nobody-knows"}
    writer = write([{"path": str(path), "text": TEXT}, new], check=True)

    assert [difference["before"] for difference in writer.differences] == ["old\n", ""]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.conf"]
    assert path.read_text(encoding="utf-8") == "old\n"


def refuse(wanted: Mapping[str, str]) -> None:
    raise NotWrittenError(f"{wanted['path']}: refused")


@pytest.mark.parametrize("reason", ["refused", "missing", "owner", "folder"])
def test_a_problem_with_one_file_leaves_all_as_they_were(tmp_path: Path, reason: str) -> None:
    path, other = tmp_path / "a.conf", tmp_path / "b.conf"
    path.write_text("old\n", encoding="utf-8")
    bad = {"path": str(other), "text": TEXT, "validate": "check %s"}
    if reason == "missing":
        bad["path"] = str(tmp_path / "missing/b.conf")
    elif reason == "owner":
        bad["owner"] = "nobody-knows"
    elif reason == "folder":
        other.mkdir()

    with pytest.raises((NotWrittenError, OSError)):
        write([{"path": str(path), "text": TEXT}, bad], validate=refuse)

    assert path.read_text(encoding="utf-8") == "old\n"
    assert {entry.name for entry in tmp_path.iterdir()} <= {"a.conf", "b.conf"}


def test_what_a_cut_off_run_has_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    Path(beside(str(path))).write_text("half", encoding="utf-8")
    write([{"path": str(path), "text": TEXT}])

    assert [entry.name for entry in tmp_path.iterdir()] == ["a.conf"]
    assert path.read_text(encoding="utf-8") == TEXT


def test_of_a_file_that_is_too_large_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "502"
    path.touch()
    os.truncate(path, 2**40)
    [difference] = write([{"path": str(path), "text": TEXT}]).differences

    assert len(difference["before"]) == 2**20 + 1
    assert path.read_text(encoding="utf-8") == TEXT


def test_a_link_in_the_place_of_a_file_is_replaced_and_what_it_shows_stays(tmp_path: Path) -> None:
    path, shown = tmp_path / "a.conf", tmp_path / "shown"
    shown.write_text("theirs\n", encoding="utf-8")
    path.symlink_to(shown)
    write([{"path": str(path), "text": TEXT}])

    assert not path.is_symlink()
    assert shown.read_text(encoding="utf-8") == "theirs\n"


def test_a_folder_is_made_and_who_may_use_it_is_corrected(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for _ in range(2):
        writer = Writer(False, accept)
        writer.prepare_folder({**OWN, "path": str(path), "mode": "0750"})
        assert writer.written == [str(path)]
        assert stat.S_IMODE(path.stat().st_mode) == 0o750
        path.chmod(0o777)


def link(path: Path, target: str) -> Writer:
    writer = Writer(False, accept)
    try:
        writer.prepare_link({"path": str(path), "target": target})
        writer.put_in_place()
    finally:
        writer.discard()
    return writer


def test_a_link_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "current"
    (tmp_path / "one").touch()
    (tmp_path / "two").touch()
    link(path, "one")

    assert link(path, "two").differences[0]["before"] == "-> one\n"
    assert os.readlink(path) == "two"
    assert link(path, "two").written == []


def test_a_link_is_not_put_over_somebodys_file_or_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "avahi-daemon.service"
    with pytest.raises(NotWrittenError, match="missing, which it should link to, is not on the Pi"):
        link(path, "missing")
    path.write_text("theirs\n", encoding="utf-8")
    with pytest.raises(NotWrittenError, match="is not a link; move it away on the Pi"):
        link(path, "/dev/null")
    assert path.read_text(encoding="utf-8") == "theirs\n"
