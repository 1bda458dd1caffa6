"""What a role writes: which files differ, and how the module managed_files writes them."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    with finishing(writer):
        for file in files:
            writer.prepare_file({**OWN, "mode": "0640", **file})
    return writer


@contextmanager
def finishing(writer: Writer) -> Iterator[None]:
    """Put in place what is prepared, or discard it, as the module does."""
    try:
        yield
        writer.put_in_place()
    finally:
        writer.discard()


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
    path.chmod(0o640)
    # Its folder, and its owner, may be made by the run.
    new = {"path": str(tmp_path / "new/b.conf"), "text": TEXT, "owner": "nobody-knows"}
    writer = write([{"path": str(path), "text": TEXT}, new], check=True)

    assert [difference["before"] for difference in writer.differences] == ["old\n", ""]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.conf"]
    assert path.read_text(encoding="utf-8") == "old\n"


def refuse(wanted: Mapping[str, str]) -> None:
    raise NotWrittenError(f"{wanted['path']}: refused")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("refused", r"b\.conf: refused"),
        ("missing", "No such file or directory"),
        ("owner", "its owner or group is not on the Pi"),
        ("folder", "is a folder; move it away"),
    ],
)
def test_a_problem_with_one_file_leaves_all_as_they_were(tmp_path: Path, reason: str, message: str) -> None:
    path, other = tmp_path / "a.conf", tmp_path / "b.conf"
    path.write_text("old\n", encoding="utf-8")
    bad = {"path": str(other), "text": TEXT}
    if reason == "refused":
        bad["validate"] = "check %s"
    elif reason == "missing":
        bad["path"] = str(tmp_path / "missing/b.conf")
    elif reason == "owner":
        bad["owner"] = "nobody-knows"
    else:
        other.mkdir()

    with pytest.raises((NotWrittenError, OSError), match=message):
        write([{"path": str(path), "text": TEXT}, bad], validate=refuse)

    assert path.read_text(encoding="utf-8") == "old\n"
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["a.conf"]


def test_nobody_else_can_read_a_file_before_it_has_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    change = os.fchmod

    def noted(file: int, mode: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(file).st_mode))
        change(file, mode)

    monkeypatch.setattr(os, "fchmod", noted)
    before = os.umask(0)
    try:
        write([{"path": str(tmp_path / "psk.conf"), "text": TEXT}])
    finally:
        os.umask(before)

    assert seen == [0o600]


def test_all_files_are_stored_before_the_first_is_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    rename = os.rename

    def noted(old: str, new: str) -> None:
        steps.append(Path(new).name)
        rename(old, new)

    monkeypatch.setattr(os, "fsync", lambda _: steps.append("stored"))
    monkeypatch.setattr(os, "rename", noted)
    write([{"path": str(tmp_path / name), "text": TEXT} for name in ("b", "a")])

    assert steps == ["stored", "stored", "b", "a"], "in the order of the role"


def test_owner_and_group_are_those_that_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.conf"
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda file, owner, group: asked.append((owner, group)))
    monkeypatch.setattr(os, "chown", lambda folder, owner, group: asked.append((owner, group)))
    writer = write([{"path": str(path), "text": TEXT, "owner": "daemon", "group": "games"}])
    writer.prepare_folder({"path": str(tmp_path / "f"), "mode": "0700", "owner": "daemon", "group": "games"})

    assert asked == [(pwd.getpwnam("daemon").pw_uid, grp.getgrnam("games").gr_gid)] * 2


def test_a_wrong_mode_is_shown_also_if_the_text_differs_and_a_link_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("old\n", encoding="utf-8")
    path.chmod(0o666)
    rights, text = write([{"path": str(path), "text": TEXT}]).differences
    assert "mode 0666" in rights["before"]
    assert text["before"] == "old\n"

    path.unlink()
    path.symlink_to("/nowhere")
    writer = write([{"path": str(path), "text": TEXT}])
    assert "a link" in writer.differences[0]["before"]
    assert writer.written == [str(path)]


def test_in_check_mode_no_folder_and_no_link_is_made(tmp_path: Path) -> None:
    writer = Writer(True, accept)
    writer.prepare_folder({**OWN, "path": str(tmp_path / "folder"), "mode": "0750"})
    writer.prepare_link({"path": str(tmp_path / "current"), "target": "releases/not-there-yet"})
    writer.put_in_place()

    assert writer.written == [str(tmp_path / "folder"), str(tmp_path / "current")]
    assert list(tmp_path.iterdir()) == []


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
    difference = write([{"path": str(path), "text": TEXT}]).differences[-1]

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
    with finishing(writer):
        writer.prepare_link({"path": str(path), "target": target})
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
