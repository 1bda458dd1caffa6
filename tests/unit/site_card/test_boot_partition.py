"""What a technician may leave on the boot partition, and the answer beside it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from smart_meter.site_card import boot_partition
from smart_meter.site_card.apply import Result
from smart_meter.site_card.card import CardError, canonical, read, without_secrets
from tests.unit.site_card.sample import GOLDEN, PASSPHRASE, PASSWORD, VirtualPi, card, data
from tests.unit.site_card.starts import start

SECRETS = (PASSPHRASE.encode(), b"correct horse", PASSWORD.encode(), PASSWORD[-40:].encode())


OTHER_NAMES = (
    "site-card.toml.txt",
    "site-card (1).toml",
    "site-card - Copy.toml",
    "Copy of site-card.toml",
    "Site card.toml",
    "site_card.TOML",
    "sitecard.toml",
    "site-card",
    "site-card.toml.crdownload",
    "pi-north.toml",
    "SITE-C~1.TOM",
)
UNIT = GOLDEN / "etc/systemd/system/smart-meter-site-card.service"


@pytest.mark.parametrize(
    "name", [*OTHER_NAMES, "site-card.toml", "SITE-CARD.TOML", "pi-north/site-card.toml"]
)
def test_the_unit_starts_for_each_name_that_gets_an_answer(name: str) -> None:
    globs = re.findall(r"(?m)^ConditionPathExistsGlob=\|/boot/firmware/(.*)$", UNIT.read_text())

    assert any(fnmatchcase(name, glob) for glob in globs)
    assert not any(fnmatchcase("config.txt", glob) for glob in globs)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_card_with_another_name_gets_an_answer_with_both_names(pi: VirtualPi, name: str) -> None:
    (pi.boot / name).write_bytes(data())
    before = pi.state()

    outcome = start(pi)

    assert outcome.result is Result.REFUSED
    assert pi.state() == before
    assert pi.answer.startswith("There is no site-card.toml in this folder. The Pi keeps its settings.")
    assert f'"{name}" is not read: the name has to be site-card.toml.' in pi.answer
    assert ("Windows hides" in pi.answer) == (name == "site-card.toml.txt")
    assert pi.answer.endswith("After that, switch the Pi on again.\n")
    assert f'"{name}" is not read' in outcome.lines[1]


def test_a_card_in_its_folder_gets_an_answer(pi: VirtualPi) -> None:
    (pi.boot / "pi-north").mkdir()
    (pi.boot / "pi-north/site-card.toml").write_bytes(data())

    assert start(pi).result is Result.REFUSED
    assert '"pi-north/site-card.toml" is not read: it is in a folder' in pi.answer


def test_a_name_with_control_characters_can_be_read_in_the_answer(pi: VirtualPi) -> None:
    (pi.boot / "site-card\n\x1b[2J\udcff.toml").write_bytes(b"")

    assert all(line.isprintable() for line in start(pi).lines)
    assert pi.answer


@pytest.mark.parametrize(
    "name",
    ["._site-card.toml", ".site-card.toml.swp", "~site-card.toml", "config.txt", "overlays", "kernel8.img"],
)
def test_other_files_are_not_taken_for_cards(pi: VirtualPi, name: str) -> None:
    (pi.boot / name).write_bytes(b"")

    assert start(pi).result is Result.ABSENT
    assert os.listdir(pi.boot) == [name]


def test_a_damaged_entry_beside_the_card_does_not_stop_it(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pi.boot / "site-card.bak").write_bytes(b"")
    pi.put(data())
    real = Path.is_dir

    def is_dir(path: Path) -> bool:
        if path.parent == pi.boot:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)

    assert start(pi).result is Result.APPLIED
    assert '"site-card.bak" is not read' in pi.answer


def test_upper_case_is_the_same_name_as_on_fat(pi: VirtualPi) -> None:
    (pi.boot / "SITE-CARD.TOML").write_bytes(data())

    assert start(pi).result is Result.APPLIED
    assert read((pi.boot / "SITE-CARD.TOML").read_bytes()).secrets == {}
    assert sorted(os.listdir(pi.boot)) == ["SITE-CARD.TOML", "site-card-answer.txt"]
    assert start(pi).result is Result.UNCHANGED


def test_of_two_cards_the_answer_names_the_one_that_was_not_read(pi: VirtualPi) -> None:
    """Windows calls the second one so if both are to be kept."""
    pi.put(data())
    other = pi.boot / "site-card (1).toml"
    other.write_bytes(data(card(timezone="Etc/UTC")))

    assert start(pi).result is Result.APPLIED
    assert "The site card of pi-north was applied." in pi.answer
    assert '"site-card (1).toml" is not read: the name has to be site-card.toml.' in pi.answer
    outcome = start(pi)
    assert outcome.result is Result.UNCHANGED
    assert '"site-card (1).toml" is not read' in outcome.lines[-1]
    assert other.read_bytes() == data(card(timezone="Etc/UTC"))
    # After it was deleted, the answer is about the card only.
    other.unlink()
    start(pi)
    assert "(1)" not in pi.answer


def test_many_other_names_are_counted(pi: VirtualPi) -> None:
    for number in range(200):
        (pi.boot / f"site-card ({number}).toml").write_bytes(b"")

    start(pi)

    assert "195 more are not read either." in pi.answer
    assert len(pi.answer) < 2000


def test_the_answer_to_a_bad_card_does_not_stay_when_the_applied_one_is_back(pi: VirtualPi) -> None:
    pi.put(data())
    start(pi)
    good = pi.card
    pi.put(good[:-100])
    start(pi)
    assert "was refused" in pi.answer

    pi.put(good)

    assert start(pi).result is Result.UNCHANGED
    assert pi.answer.startswith("The site card of pi-north was applied.\n")


def test_the_same_answer_is_not_written_again(pi: VirtualPi) -> None:
    pi.put(data())
    start(pi)
    answer = (pi.boot / "site-card-answer.txt").stat()

    start(pi)

    assert (pi.boot / "site-card-answer.txt").stat().st_ino == answer.st_ino
    assert (pi.boot / "site-card-answer.txt").stat().st_mtime_ns == answer.st_mtime_ns


def full(pi: VirtualPi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the boot partition have no room for a new file."""

    def no_room(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    class Full:
        f_bavail, f_frsize, f_flag = 15, 4096, 0

    monkeypatch.setattr(boot_partition, "_write", no_room)
    monkeypatch.setattr(os, "statvfs", lambda _: Full())


def test_on_a_full_partition_the_secrets_are_removed_all_the_same(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data())
    full(pi, monkeypatch)

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert read(pi.card) == replace(card(), secrets={})
    assert len(pi.card) == len(data())
    assert not [secret for secret in SECRETS if secret in pi.card]
    assert "No space left on device), so site-card-answer.txt is not up to date" in outcome.lines[1]
    assert outcome.lines[2] == "The boot partition is full: delete what does not belong to the Pi."
    written = (pi.boot / "site-card.toml").stat().st_mtime_ns
    assert start(pi).result is Result.UNCHANGED
    assert (pi.boot / "site-card.toml").stat().st_mtime_ns == written


def test_on_a_full_partition_the_answer_replaces_an_earlier_one(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(b"torn")
    start(pi)
    pi.put(data())
    full(pi, monkeypatch)

    start(pi)

    assert pi.answer.startswith("The site card of pi-north was applied.\n")
    assert pi.answer.endswith("\nThe boot partition is full: delete what does not belong to the Pi.\n")
    assert "refused" not in pi.answer


def test_a_full_partition_without_a_card_is_no_reason_to_fail(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(pi, monkeypatch)

    assert start(pi).result is Result.ABSENT


@pytest.mark.parametrize("name", ["site-card.toml.new", "site-card-answer.txt.new", "site-card-answer.txt"])
def test_a_folder_in_the_place_of_a_file_does_not_keep_the_secrets(pi: VirtualPi, name: str) -> None:
    (pi.boot / name / "full").mkdir(parents=True)
    pi.put(data())

    assert start(pi).result is Result.APPLIED
    assert not [secret for secret in SECRETS if secret in pi.card]
    assert start(pi).result is Result.UNCHANGED


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder in which a write of over 100 bytes fails in the middle, as on a full partition."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.fstat(descriptor).st_size > 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", fsync)
    yield tmp_path
    patch.undo()


def test_a_file_without_room_is_not_left_half_written(small: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        boot_partition._write(small / "site-card.toml.new", bytes(200))

    assert os.listdir(small) == []


def test_whatever_had_the_secrets_on_the_partition_has_none_afterwards(pi: VirtualPi) -> None:
    """Each file that the partition ever had keeps a second name here, as its blocks remain on a card."""
    pi.put(data())
    blocks = pi.boot.parent / "blocks"
    blocks.mkdir()
    os.link(pi.boot / "site-card.toml", blocks / "old")
    real = os.replace

    def keep(old: Path, new: Path) -> None:
        os.link(old, blocks / old.name)
        real(old, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", keep)
        assert start(pi).result is Result.APPLIED

    found = [path for folder in (pi.boot, blocks) for path in folder.iterdir()]
    assert len(found) == 5
    assert any(secret in data() for secret in SECRETS)
    for path in found:
        content = path.read_bytes()
        assert not [secret for secret in SECRETS if secret in content], path.name


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_a_card_that_notepad_saved_as_unicode_is_named_so(pi: VirtualPi, encoding: str) -> None:
    bom = "" if encoding == "utf-16" else "\ufeff"
    pi.put((bom + data().decode().replace("\n", "\r\n")).encode(encoding))

    assert start(pi).result is Result.REFUSED
    assert "is UTF-16 (Unicode), so it is not as it was made" in pi.answer
    assert "copied completely" not in pi.answer


@pytest.mark.parametrize(
    "content",
    [
        data().decode().encode("utf-16-le"),
        data().replace(b"\n", b"\r"),
        data().replace(b"operator", "öperator".encode("cp1252")),
        b"{\\rtf1\\ansi" + data() + b"}",
        b"PK\x03\x04" + data(),
        b"<!DOCTYPE html><pre>" + data() + b"</pre>",
        bytes(len(data())),
        data()[:4096] + bytes(len(data()) - 4096),
        data() + b"x",
        data() + data(),
        data().replace(b"\n", b" \n"),
        data().upper(),
    ],
    ids=[
        *("utf16 without mark", "cr", "cp1252", "rtf", "zip", "html", "zeros", "torn cluster", "appended"),
        *("twice", "trailing blanks", "upper case"),
    ],
)
def test_what_programs_make_of_a_card_is_refused_with_a_reason(pi: VirtualPi, content: bytes) -> None:
    pi.put(content)
    before = pi.state()

    assert start(pi).result is Result.REFUSED
    assert pi.state() == before
    assert "copy it again" in pi.answer


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda content: content.replace(b"\n", b"\r\n"), "has the line ends of Windows (CRLF)"),
        (lambda content: b"\xef\xbb\xbf" + content, "has a byte order mark"),
    ],
)
def test_an_applied_card_that_an_editor_has_saved_changes_nothing(
    pi: VirtualPi, change: Callable[[bytes], bytes], expected: str
) -> None:
    pi.put(data())
    assert start(pi).result is Result.APPLIED
    good = pi.card
    pi.put(change(good))
    before = pi.state()

    assert start(pi).result is Result.REFUSED
    assert expected in pi.answer
    assert pi.state() == before
    assert pi.card == change(good)
    pi.put(good)
    assert start(pi).result is Result.UNCHANGED


@pytest.mark.parametrize(
    "change",
    [lambda content: content + b"\n\n", lambda content: content.rstrip(b"\n")],
    ids=["empty lines", "no last line end"],
)
def test_the_end_of_the_last_line_makes_no_other_card(
    pi: VirtualPi, change: Callable[[bytes], bytes]
) -> None:
    pi.put(data())
    assert start(pi).result is Result.APPLIED
    pi.put(change(pi.card))
    before = pi.state()

    assert start(pi).result is Result.UNCHANGED
    assert pi.state() == before
    # It has no secrets, so it is left as it is.
    assert pi.card == change(without_secrets(canonical(data())).encode())
    pi.put(change(data()))
    assert start(pi).result is Result.UNCHANGED
    assert not [secret for secret in SECRETS if secret in pi.card]


def test_a_card_that_is_cut_anywhere_is_refused() -> None:
    whole = data()
    lines = [place + 1 for place, byte in enumerate(whole) if byte == 0x0A]
    interesting = {*range(64), *lines, *(line - 1 for line in lines), *range(512, len(whole), 512)}
    interesting |= set(range(len(whole) - 200, len(whole)))
    # Without the last line end, it still has everything.
    interesting -= {len(whole), len(whole) - 1}

    assert len(interesting) > 600
    for length in sorted(interesting):
        with pytest.raises(CardError, match="was not copied completely"):
            read(whole[:length])
