"""Each boot mounts the state partition, or what replaces it, whatever is on the card."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.unit.tools.image.state.card import MIB, TOOLS, USED, Card, debug, get, put
from tools.image.state import boot, devices, filesystem, growth
from tools.image.state.boot import Mounter, Report, mount_state
from tools.image.state.filesystem import Health

pytestmark = TOOLS
NUMBERS = (devices.STATE, devices.SPARE)
DAMAGED = b"\xa5" * 60 * MIB


@dataclass
class Kernel:
    """Stands for the mounts: copies the note between the file system and a folder."""

    folder: Path
    mounted: list[str] = field(default_factory=list)
    fails: Callable[[Path], bool] = lambda _: False

    def mounter(self) -> Mounter:
        return Mounter(self.folder, self.mount, self.unmount, lambda: self.mounted.append("memory"))

    def mount(self, device: Path) -> None:
        if self.fails(device):
            raise OSError(f"mount {device}: wrong fs type")
        self.mounted.append(device.name)
        note = get(device, boot.SET_ASIDE)
        (self.folder / boot.SET_ASIDE).unlink(missing_ok=True)
        if note:
            (self.folder / boot.SET_ASIDE).write_text(note)

    def unmount(self) -> None:
        self.mounted.append("-")

    def write_back(self, device: Path) -> None:
        put(device, boot.SET_ASIDE, (self.folder / boot.SET_ASIDE).read_text())


@pytest.fixture
def card(tmp_path: Path) -> Card:
    folder = tmp_path / "card"
    folder.mkdir()
    return Card(folder)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    folder = tmp_path / "state"
    folder.mkdir()
    # It grows a mounted one; a file that is not mounted has to be checked by force first.
    grown: list[Path] = []
    monkeypatch.setattr(filesystem, "grow", grown.append)
    return Kernel(folder)


def test_the_first_boot_grows_the_state_to_the_end_of_the_card_and_uses_it(
    card: Card, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown: list[Path] = []
    monkeypatch.setattr(filesystem, "grow", grown.append)

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device, report.problems, report.repaired) == ("state", "card8", [], False)
    assert kernel.mounted == ["card8"]
    assert card.sectors(8) == (64 + 100) * MIB // 512
    assert grown == [card.partition(8)]


def test_the_next_boot_grows_nothing(card: Card, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    mount_state(card, NUMBERS, kernel.mounter())
    filesystem.make(card.partition(8), "state")  # as large as the partition
    monkeypatch.setattr(filesystem, "grow", lambda _: pytest.fail("it has grown already"))
    before = card.device.read_bytes()

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.problems) == ("state", [])
    assert card.device.read_bytes() == before


@pytest.mark.parametrize("cut", range(3))
def test_a_power_cut_between_two_steps_of_growing_is_continued(
    card: Card, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """cut: the number of steps (two writes, then the kernel's own size) that were finished."""
    steps = 0

    class PowerCutError(Exception):
        pass

    def counted(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            nonlocal steps
            if steps == cut:
                raise PowerCutError
            steps += 1
            function(*arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(growth, "apply", counted(growth.apply))
        patched.setattr(card, "resize", counted(card.resize))
        with pytest.raises(PowerCutError):
            mount_state(card, NUMBERS, kernel.mounter())
    # The kernel reads the tables again.
    card.read_tables()

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.problems) == ("state", [])
    assert card.sectors(8) == (64 + 100) * MIB // 512


def test_tables_of_another_kind_do_not_stop_the_boot(card: Card, kernel: Kernel) -> None:
    with card.device.open("r+b") as file:
        file.write(bytes(512))

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert report.kind == "state"
    [problem] = report.problems
    assert problem.startswith("the state partition could not grow: sector 0 is not a partition table")


ERROR = "set_super_value state 2"
"""As the kernel marks a file system in which it found an error: the next check looks at everything."""


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        # e2fsck -p repairs the first, and asks about the second: the root folder is lost.
        (("set_inode_field kept links_count 5", ERROR), "kept"),
        (("clri <2>", ERROR), "lost+found/#12"),
    ],
)
def test_a_file_system_with_errors_is_repaired(
    card: Card, kernel: Kernel, damage: tuple[str, ...], name: str
) -> None:
    put(card.partition(8), "kept", "content")
    debug(card.partition(8), *damage)

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.repaired) == ("state", True)
    assert get(card.partition(8), name) == "content"
    assert [line for line in boot.lines(report) if "card8 had errors and was repaired" in line]


def test_an_unclean_file_system_is_no_error(card: Card, kernel: Kernel) -> None:
    # As after a power cut: mounted, and its journal has to be replayed.
    debug(card.partition(8), "feature needs_recovery")

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.repaired) == ("state", False)


def test_a_state_that_cannot_be_repaired_is_set_aside_as_it_is(card: Card, kernel: Kernel) -> None:
    damage(card, 8)
    before = card.partition(8).read_bytes()[: len(DAMAGED)]

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device) == ("spare", "card7")
    assert report.why.startswith("it can't be repaired")
    assert report.set_aside is not None
    assert card.partition(8).read_bytes()[: len(DAMAGED)] == before
    assert filesystem.check(card.partition(7))[0] is Health.CLEAN
    assert json.loads((kernel.folder / boot.SET_ASIDE).read_text())["why"] == report.why
    [line] = boot.lines(report)
    assert line.startswith("the spare partition is used, the state partition was set aside: it can't")


def test_the_spare_is_used_from_then_on_even_if_the_state_could_be_read_again(
    card: Card, kernel: Kernel
) -> None:
    damage(card, 8)
    first = mount_state(card, NUMBERS, kernel.mounter())
    kernel.write_back(card.partition(7))
    put(card.partition(7), "sample", "21.4")
    filesystem.make(card.partition(8), "state")

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device, report.why) == ("spare", "card7", first.why)
    assert report.set_aside == first.set_aside
    assert get(card.partition(7), "sample") == "21.4"


def test_a_power_cut_before_the_spare_was_finished_is_repeated(card: Card, kernel: Kernel) -> None:
    damage(card, 8)
    filesystem.make(card.partition(7), "spare")  # its note is missing

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert report.kind == "spare"
    assert kernel.mounted == ["card7", "-", "card7"]


def test_a_spare_without_a_note_does_not_replace_a_whole_state(card: Card, kernel: Kernel) -> None:
    filesystem.make(card.partition(7), "spare")

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device, report.why) == ("state", "card8", "")
    assert kernel.mounted == ["card7", "-", "card8"]


def use_the_spare(card: Card, kernel: Kernel) -> None:
    """Set the state partition aside, which can be read again afterwards."""
    damage(card, 8)
    mount_state(card, NUMBERS, kernel.mounter())
    kernel.write_back(card.partition(7))
    put(card.partition(7), "sample", "21.4")
    filesystem.make(card.partition(8), "state")
    kernel.mounted.clear()


def test_a_spare_in_use_that_fails_at_one_boot_is_neither_replaced_nor_made_again(
    card: Card, kernel: Kernel
) -> None:
    use_the_spare(card, kernel)
    kernel.fails = lambda device: device.name == "card7"

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device) == ("memory", "")
    assert report.why.startswith("the spare partition may be in use, and can't be used: mount")
    assert kernel.mounted == ["memory"]
    kernel.fails = lambda _: False
    assert mount_state(card, NUMBERS, kernel.mounter()).kind == "spare"
    assert get(card.partition(7), "sample") == "21.4"


def test_a_spare_whose_superblock_is_lost_is_repaired_from_its_copy(card: Card, kernel: Kernel) -> None:
    use_the_spare(card, kernel)
    with card.partition(7).open("r+b") as file:
        file.write(bytes(4096))

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device, report.repaired) == ("spare", "card7", True)
    assert get(card.partition(7), "sample") == "21.4"


def test_a_spare_that_cannot_be_read_is_left_alone(
    card: Card, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(filesystem, "was_made", fail)

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, kernel.mounted) == ("memory", ["memory"])
    assert "Input/output error" in report.why


@pytest.mark.parametrize("left", ["own", "lost+found/#12"])
def test_a_spare_that_lost_its_note_and_has_folders_is_in_use(card: Card, kernel: Kernel, left: str) -> None:
    filesystem.make(card.partition(7), "spare")
    (kernel.folder / left).mkdir(parents=True)

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device) == ("spare", "card7")
    assert report.why == "the reason is lost: the spare partition has no note"


def test_a_spare_whose_note_cannot_be_read_is_in_use(card: Card, kernel: Kernel) -> None:
    filesystem.make(card.partition(7), "spare")
    put(card.partition(7), boot.SET_ASIDE, "torn")

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device) == ("spare", "card7")
    assert report.why.startswith("the reason is lost: JSONDecodeError")


def test_a_state_whose_check_fails_in_another_way_is_set_aside(
    card: Card, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> tuple[Health, str]:
        raise ValueError("not text")

    monkeypatch.setattr(filesystem, "check", fail)

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.why) == ("spare", "not text")


def test_a_state_that_cannot_be_mounted_is_set_aside(card: Card, kernel: Kernel) -> None:
    kernel.fails = lambda device: device.name == "card8"

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.why) == ("spare", f"mount {card.partition(8)}: wrong fs type")


def test_without_both_partitions_changes_are_kept_in_memory(card: Card, kernel: Kernel) -> None:
    kernel.fails = lambda _: True

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert (report.kind, report.device) == ("memory", "")
    assert kernel.mounted == ["memory"]
    first, second = boot.lines(report)
    assert first.startswith("all changes are in memory and lost at the next restart: mount")
    assert second.startswith("the spare partition can't be used: mount")


def test_a_card_without_the_partitions_boots(card: Card, kernel: Kernel) -> None:
    card.kernel.clear()

    report = mount_state(card, NUMBERS, kernel.mounter())

    assert report.kind == "memory"
    assert "no partition 8" in report.why


def damage(card: Card, number: int) -> None:
    """Overwrite a partition so that no copy of its superblock is left."""
    with card.partition(number).open("r+b") as file:
        file.write(DAMAGED)


def test_the_numbers_are_those_of_the_layout() -> None:
    from tools.image import disk

    assert (disk.STATE.number, disk.SPARE.number) == (devices.STATE, devices.SPARE)
    assert disk.SPARE.is_empty
    assert USED < 3800  # a card that is sold as 4 GB


def test_a_machine_id_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "machine-id"
    file.write_bytes(b"")

    assert boot.make_machine_id(file)
    made = file.read_text()
    assert len(made) == 33
    assert file.stat().st_mode & 0o777 == 0o444

    assert not boot.make_machine_id(file)
    assert file.read_text() == made


@pytest.mark.parametrize("text", ["", "uninitialized\n", "12ab\n", "0" * 32 + "\n", "\0" * 33])
def test_a_machine_id_that_is_none_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "machine-id").write_text(text)

    assert boot.make_machine_id(tmp_path / "machine-id")
    assert (tmp_path / "machine-id").read_text() != text


def test_the_report_is_written_where_the_doctor_reads_it(tmp_path: Path) -> None:
    report = Report("spare", "mmcblk0p7", "it can't be repaired", 1_780_000_000.0)

    boot.write_report(report, tmp_path)

    assert json.loads((tmp_path / "run/smart-meter-image/state.json").read_text()) == {
        "kind": "spare",
        "device": "mmcblk0p7",
        "why": "it can't be repaired",
        "set_aside": 1_780_000_000.0,
        "repaired": False,
        "problems": [],
    }
    assert list(boot.lines(Report())) == []
