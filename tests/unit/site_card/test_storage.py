"""Full, read-only and interrupted storage: the state partition and the boot partition."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tools.image.state import mounts
from tools.image.state.places import Place

from smart_meter.site_card import staging, target
from smart_meter.site_card.apply import Result
from smart_meter.site_card.card import canonical, read, without_secrets
from smart_meter.site_card.places import PLACES
from tests.unit.site_card.sample import VirtualPi, card, data
from tests.unit.site_card.starts import CONFIG, RECORD, Os, applied, full_at, start


def test_a_failure_between_two_renames_is_reported_as_such(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data())
    renames = iter(range(5))

    def rename(old: Path, new: Path) -> None:
        if next(renames, None) is None:
            raise OSError(errno.EIO, "Input/output error", str(new))
        os.replace(old, new)

    failing = Os(os.fsync)
    failing.rename = rename  # type: ignore[attr-defined]
    monkeypatch.setattr(staging, "os", failing)

    assert start(pi).result is Result.REFUSED
    assert pi.answer.startswith("The site card could not be applied completely: some files are new.\n")
    assert "Input/output error; the next start applies the card again" in pi.answer
    assert pi.answer.splitlines()[-1].startswith("Switch the Pi on once more. If it stays so, write a new")
    assert not list(pi.root.rglob(".*.new"))
    monkeypatch.undo()
    assert start(pi).result is Result.APPLIED


def reported_by_the_initrd(place: str, folder: Path) -> str:
    """Return the initrd's report of a place that can't be mounted from the state partition."""

    def no_room(*command: str) -> None:
        if "memory" not in " ".join(command):
            raise OSError(errno.ENOSPC, "No space left on device")

    problems: list[str] = []
    state, memory = folder / "state", folder / "memory"
    mounts.mount_all([Place("own", place)], state, memory, problems.append, no_room)
    return json.dumps({"kind": "state", "problems": problems})


@pytest.mark.parametrize("case", ["memory", "/etc", "/home", "/usr/local/sbin", "/var/lib/smart-meter-guard"])
def test_a_card_whose_files_are_in_memory_only_keeps_its_secrets(
    pi: VirtualPi, case: str, tmp_path: Path
) -> None:
    pi.put(data())
    report = '{"kind": "memory"}' if case == "memory" else reported_by_the_initrd(case, tmp_path)
    pi.write("/run/smart-meter-image/state.json", report)

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert pi.card == data()
    assert "So the site card keeps its secrets" in outcome.lines[1]
    assert "The state partition can't be used" in pi.answer
    assert "were removed" not in pi.answer


def test_a_card_whose_files_are_lost_at_each_start_is_applied_at_each(pi: VirtualPi, tmp_path: Path) -> None:
    """The record is on the state partition, and /etc is the image's again."""
    shutil.copytree(pi.root / "etc", tmp_path / "image")
    pi.write("/run/smart-meter-image/state.json", reported_by_the_initrd("/etc", tmp_path))
    pi.put(data())
    for _ in range(2):
        assert start(pi).result is Result.APPLIED
        assert pi.text("/etc/hostname") == "pi-north\n"
        assert pi.card == data()
        shutil.rmtree(pi.root / "etc")
        shutil.copytree(tmp_path / "image", pi.root / "etc")
    pi.write("/run/smart-meter-image/state.json", '{"kind": "state", "problems": []}')

    assert start(pi).result is Result.APPLIED
    assert pi.text("/etc/hostname") == "pi-north\n"
    assert read(pi.card).secrets == {}
    assert start(pi).result is Result.UNCHANGED


def test_a_card_applied_for_one_start_does_not_undo_make_configure(pi: VirtualPi, tmp_path: Path) -> None:
    image, state = tmp_path / "image", tmp_path / "of-state"
    shutil.copytree(pi.root / "etc", image)
    applied(pi)
    pi.write(CONFIG, "# by make configure\n")
    (pi.root / "etc").rename(state)
    shutil.copytree(image, pi.root / "etc")
    pi.write("/run/smart-meter-image/state.json", reported_by_the_initrd("/etc", tmp_path))
    assert start(pi).result is Result.APPLIED
    shutil.rmtree(pi.root / "etc")
    state.rename(pi.root / "etc")
    pi.write("/run/smart-meter-image/state.json", '{"kind": "state", "problems": []}')

    assert start(pi).result is Result.UNCHANGED
    assert pi.text(CONFIG) == "# by make configure\n"


def test_every_place_that_a_card_writes_to_counts() -> None:
    for path in filter(None, (path for place in PLACES for path in (place.path, place.copy, place.link))):
        assert path.startswith(tuple(f"{folder}/" for folder in target._FOLDERS)), path


@pytest.mark.parametrize("report", ["", "[]", "{}", '{"kind": "state", "problems": 1}', '{"kind": "spare"}'])
def test_any_other_report_of_the_initrd_lets_the_secrets_be_removed(pi: VirtualPi, report: str) -> None:
    pi.write("/run/smart-meter-image/state.json", report)

    assert read(applied(pi).card).secrets == {}


@pytest.mark.parametrize("number", [0, 3, 12, 21])
def test_a_full_card_changes_nothing(pi: VirtualPi, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pi.put(data())
    before = pi.state()
    # Only the files on state: the FAT partition has room.
    monkeypatch.setattr(staging, "os", Os(full_at(number)))

    outcome = start(pi)

    assert outcome.result is Result.REFUSED
    assert pi.state() == before
    assert "No space left on device; nothing was changed" in pi.answer
    assert pi.answer.splitlines()[-1].startswith("The memory card has no room left for settings:")


def test_a_power_cut_between_two_renames_is_made_up_for_at_the_next_start(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data())
    with monkeypatch.context() as patch:
        renames = iter(range(5))

        def rename(old: Path, new: Path) -> None:
            if next(renames, None) is None:
                raise KeyboardInterrupt
            os.replace(old, new)

        cut = Os(os.fsync)
        cut.rename = rename  # type: ignore[attr-defined]
        patch.setattr(staging, "os", cut)
        with pytest.raises(KeyboardInterrupt):
            start(pi)
    assert pi.text("/etc/hostname") == "pi-north\n"
    assert not pi.has(RECORD)

    assert start(pi).result is Result.APPLIED
    assert not list(pi.root.rglob(".*.new"))


def test_the_record_is_put_in_place_once_everything_else_is_on_the_card(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def rename(old: Path, new: Path) -> None:
        steps.append(f"/{new.relative_to(pi.root)}")
        os.replace(old, new)

    def fsync(descriptor: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if place.is_dir():
            steps.append(f"/{place.relative_to(pi.root)}/")

    watched = Os(fsync)
    watched.rename = rename  # type: ignore[attr-defined]
    monkeypatch.setattr(staging, "os", watched)
    pi.put(data())

    assert start(pi).result is Result.APPLIED

    assert steps[-2:] == [RECORD, f"{os.path.dirname(RECORD)}/"]
    changed = {path for path in steps if not path.endswith("/") and path != RECORD}
    assert {f"{os.path.dirname(path)}/" for path in changed} <= set(steps[: steps.index(RECORD)])


def make_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, content: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    for name in ("_write", "_overwrite"):
        monkeypatch.setattr(f"smart_meter.site_card.boot_partition.{name}", write)


def test_a_boot_partition_that_cannot_be_written_does_not_stop_the_card(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data())

    make_read_only(monkeypatch)

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert "the boot partition can't be written (Read-only file system)" in outcome.lines[1]
    monkeypatch.undo()
    assert start(pi).result is Result.UNCHANGED
    assert read(pi.card).secrets == {}


def test_a_refusal_on_a_read_only_boot_partition_is_in_the_journal(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(b"x")

    make_read_only(monkeypatch)

    outcome = start(pi)

    assert outcome.result is Result.REFUSED
    assert "not copied completely" in outcome.lines[1]
    assert "so site-card-answer.txt is not up to date" in outcome.lines[2]


def test_an_interrupted_removal_of_secrets_is_finished(pi: VirtualPi) -> None:
    applied(pi)
    # The old content is overwritten already, and the new card is not in its place yet.
    (pi.boot / "site-card.toml.new").write_bytes(pi.card)
    pi.put(bytes(len(data())))

    assert start(pi).result is Result.UNCHANGED
    assert read(pi.card) == replace(card(), secrets={})
    assert not (pi.boot / "site-card.toml.new").exists()


def test_a_left_over_of_an_older_removal_does_not_replace_a_card(pi: VirtualPi) -> None:
    (pi.boot / "site-card.toml.new").write_text(without_secrets(canonical(data(card(timezone="Etc/UTC")))))

    applied(pi)

    assert os.readlink(pi.root / "etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    assert not (pi.boot / "site-card.toml.new").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"layout": 2}', '{"layout": 1, "host": 7}'])
def test_a_record_that_cannot_be_read_lets_the_card_be_applied_again(pi: VirtualPi, text: str) -> None:
    applied(pi)
    pi.write(RECORD, text)
    pi.put(data())

    assert start(pi).result is Result.APPLIED
    assert json.loads(pi.text(RECORD))["host"] == "pi-north"


def test_a_card_that_changes_nothing_else_is_recorded(pi: VirtualPi) -> None:
    applied(pi)
    (pi.root / RECORD.lstrip("/")).unlink()
    pi.put(data())

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert outcome.changed == ()
