"""The state partition grows to the end of the card, and a power cut between the writes is continued."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.tools.image.state.card import MIB, USED, write_tables
from tools.image.disk import EXTENDED, STATE, layout_problems
from tools.image.state import growth, mbr


def tables(disk: Path) -> dict[int, mbr.Entry]:
    return {entry.number: entry for entry in mbr.read(disk)}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    write_tables(tmp_path / "disk", USED)
    return tmp_path / "disk"


def enlarge(disk: Path, size: int) -> None:
    with disk.open("r+b") as file:
        file.truncate(size)


def test_the_tables_of_these_tests_are_those_of_the_image(disk: Path) -> None:
    assert list(layout_problems(mbr.read(disk))) == []


def test_a_card_of_the_images_size_needs_no_growth(disk: Path) -> None:
    assert growth.planned(disk) == []


def test_the_extended_partition_grows_first_and_then_the_state(disk: Path) -> None:
    before = tables(disk)
    enlarge(disk, (USED + 100) * MIB + 3 * MIB + 512)

    first, second = growth.planned(disk)
    growth.apply(disk, first)
    between = tables(disk)
    growth.apply(disk, second)
    after = tables(disk)

    # Cut between the writes: only the extended partition is larger, and what it contains is where it was.
    assert {number for number in before if before[number] != between[number]} == {EXTENDED}
    assert {number for number in before if before[number] != after[number]} == {EXTENDED, STATE.number}
    # The end is a multiple of 4 MiB.
    assert after[STATE.number].end == after[EXTENDED].end == (USED + 100) // 4 * 4 * MIB
    assert after[STATE.number].offset == before[STATE.number].offset
    assert growth.planned(disk) == []


def test_the_next_boot_continues_after_a_cut_between_the_writes(disk: Path) -> None:
    enlarge(disk, (USED + 100) * MIB)
    writes = growth.planned(disk)
    growth.apply(disk, writes[0])

    assert growth.planned(disk) == writes[1:]


def test_a_write_changes_four_bytes_of_one_sector(disk: Path) -> None:
    enlarge(disk, (USED + 100) * MIB)
    for write in growth.planned(disk):
        before = _sectors(disk)
        growth.apply(disk, write)
        after = _sectors(disk)
        changed = [sector for sector in before if before[sector] != after[sector]]
        assert changed == [write.table]
        assert sum(a != b for a, b in zip(before[write.table], after[write.table], strict=True)) <= 4


def _sectors(disk: Path) -> dict[int, bytes]:
    """The first sector of each MiB: all tables are among them."""
    found = {}
    with disk.open("rb") as file:
        for place in range(0, USED * MIB, MIB):
            file.seek(place)
            found[place // 512] = file.read(512)
    return found


def test_a_card_that_is_larger_than_an_mbr_can_count_is_used_as_far_as_it_can(disk: Path) -> None:
    enlarge(disk, 3 * 1024**4)
    for write in growth.planned(disk):
        growth.apply(disk, write)

    assert tables(disk)[STATE.number].end == (2**32 - 1) * 512
    assert growth.planned(disk) == []


@pytest.mark.parametrize("place", [510, 446 + 3 * 16 + 4])
def test_a_disk_with_other_tables_is_left_alone(disk: Path, place: int) -> None:
    with disk.open("r+b") as file:
        file.seek(place)
        file.write(b"\x00")

    with pytest.raises(ValueError, match=r"table|extended"):
        growth.planned(disk)


def test_tables_that_form_a_ring_are_left_alone(disk: Path) -> None:
    entry = tables(disk)[EXTENDED]
    with disk.open("r+b") as file:
        # The link of the first table leads to itself.
        file.seek(entry.offset + 446 + 16 + 8)
        file.write(bytes(4))

    with pytest.raises(ValueError, match="ring"):
        growth.planned(disk)
