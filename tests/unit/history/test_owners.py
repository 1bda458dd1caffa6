"""Retention by size: an address's new rows replace its own, never another's."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smart_meter.concentrator.sink import client_number
from smart_meter.config import HistoryConfig
from smart_meter.history.database import Database
from smart_meter.history.limits import PAGE, StorageLimits
from smart_meter.history.owners import MAX_OWNERS
from smart_meter.history.reader import Reader
from smart_meter.history.running_time import SECOND, first_segment
from smart_meter.history.sample_queue import EARLY
from tests.unit.history.bench import Bench, Hands, meter, query, registers
from tests.unit.history.version_1 import FirstRelease

Make = Callable[..., Bench]
METERS = {0: meter("m")}
LIMITS = StorageLimits.of(HistoryConfig(max_size_mib=2))
GENUINE, FLOOD = 50, 66


class File:
    """A database that several addresses fill, each with rows of its own."""

    def __init__(self, path: Path, limits: StorageLimits = LIMITS) -> None:
        self.path = path
        self.limits = limits
        self.now = 0.0
        self.reopen()

    def reopen(self) -> None:
        self.database = Database(str(self.path), self.limits, 1)

    def add(self, **counts: int) -> None:
        """Commit rows; keywords are addresses, such as `c50=3`, whose rows take turns."""
        self.now += 1
        rows = [(0, self.now, None, 0, b"\x00\x05", int(client[1:])) for client in counts]
        most = max(counts.values())
        batch = [
            row
            for turn in range(most)
            for row, count in zip(rows, counts.values(), strict=True)
            if turn < count
        ]
        database = self.database
        database.shrink()
        with database.transaction():
            if database.segment is None:
                before = database.last_segment
                database.begin_segment(
                    first_segment(
                        before, database.running, "a", int(self.now * SECOND), 1_600_000_000 * SECOND
                    )
                )
            database.make_room(len(batch), 2, [batch])
            database.insert(batch, METERS)
        assert query(self.path, "PRAGMA page_count")[0][0] <= self.limits.pages

    def rows(self, client: int | None) -> int:
        [(count,)] = query(self.path, "SELECT count(*) FROM samples WHERE client IS ?", client)
        return int(count)

    def oldest(self, client: int) -> int:
        [(oldest,)] = query(self.path, "SELECT min(id) FROM samples WHERE client IS ?", client)
        return int(oldest)

    def fill(self) -> None:
        """Fill the file with the genuine address's rows until it gives up its oldest."""
        while self.oldest_of_all() == 1:
            self.add(c50=500)

    def oldest_of_all(self) -> int:
        [(oldest,)] = query(self.path, "SELECT ifnull(min(id), 1) FROM samples")
        return int(oldest)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    file = File(tmp_path / "h.db")
    yield file
    file.database.close()


def test_a_flood_into_a_full_file_pushes_out_no_row_of_another(file: File) -> None:
    file.fill()
    before, oldest = file.rows(GENUINE), file.oldest(GENUINE)
    for _ in range(200):
        file.add(c66=1000)
    assert (file.rows(GENUINE), file.oldest(GENUINE)) == (before, oldest)
    assert file.rows(FLOOD) > before / 20


def test_a_flood_among_an_addresses_rows_pushes_out_none_of_them(file: File) -> None:
    file.add(c50=1)
    for _ in range(200):
        file.add(c50=5, c66=1000)
    assert (file.rows(GENUINE), file.oldest(GENUINE)) == (1001, 1)


@pytest.mark.parametrize("addresses", [6, MAX_OWNERS - 1])
def test_a_row_in_each_commit_of_a_flood_by_many_addresses_replaces_none(
    addresses: int, tmp_path: Path
) -> None:
    limits = StorageLimits.of(HistoryConfig(max_size_mib=8))
    file = File(tmp_path / "h.db", limits)
    file.add(c50=2000)
    # As many rows as one commit may hold.
    rows = limits.transaction // 48 // addresses
    flood = {f"c{number}": rows for number in range(100, 100 + addresses)}
    for _ in range(50):
        file.add(c50=1, **flood)
    assert (file.rows(GENUINE), file.oldest(GENUINE)) == (2050, 1)
    assert file.database.deleted_young > 2000


def test_an_address_that_comes_to_a_flooded_file_finds_room(file: File) -> None:
    for _ in range(100):
        file.add(c66=1000)
    flood = file.rows(FLOOD)
    for _ in range(200):
        file.add(c50=5, c66=500)
    assert file.rows(GENUINE) == 1000
    assert file.rows(FLOOD) < flood * 1.1


def test_two_addresses_keep_what_each_has(file: File) -> None:
    for _ in range(60):
        file.add(c50=400, c66=400)
    shares = file.rows(GENUINE), file.rows(FLOOD)
    for _ in range(60):
        file.add(c50=40, c66=1000)
    assert file.rows(GENUINE) >= shares[0] * 0.95
    assert file.rows(FLOOD) <= shares[1] * 1.2


def test_many_addresses_push_out_each_other_only(file: File) -> None:
    file.fill()
    before = file.rows(GENUINE)
    for number in range(3 * MAX_OWNERS):
        file.add(**{f"c{100 + number}": 300, "c50": 1})
    assert file.rows(GENUINE) >= before * 0.95
    for _ in range(20):
        file.add(c50=200)
    assert file.rows(GENUINE) >= before * 0.95


def test_rows_without_an_address_belong_to_the_address_that_was_there_first(tmp_path: Path) -> None:
    release = FirstRelease(tmp_path / "h.db")
    release.create()
    file = File(tmp_path / "h.db")
    file.now = 1e6
    while file.oldest_of_all() == 1:
        file.add(c0=500)
    unknown = file.rows(None)
    file.add(c50=1)
    for _ in range(100):
        file.add(c66=1000)
    assert file.rows(None) == unknown
    for _ in range(30):
        file.add(c50=500)
    assert file.rows(None) < unknown
    assert (file.rows(GENUINE), file.oldest(GENUINE) > 0) == (15_001, True)
    file.database.close()


def test_a_start_knows_whose_the_rows_are(file: File) -> None:
    file.add(c50=1)
    for _ in range(20):
        file.add(c50=5, c66=1000)
    file.database.close()
    file.reopen()
    counted = dict(file.database._owners._rows)
    assert counted == {GENUINE: file.rows(GENUINE), FLOOD: file.rows(FLOOD)}


def test_what_an_earlier_release_deleted_or_added_does_not_upset_the_counts(file: File) -> None:
    for _ in range(10):
        file.add(c50=500, c66=500)
    file.database._keep_last()
    file.database.close()
    release = FirstRelease(file.path)
    release.record(METERS[0], [b"\x00\x05"] * 15_000)
    release.delete(before=9001)
    file.reopen()
    assert sum(file.database._owners._rows.values()) == 16_000
    file.add(c50=1)


def test_a_wrong_count_does_not_keep_the_file_from_making_room(file: File) -> None:
    file.add(c50=1)
    file.database._owners._rows[0] = 10**6
    file.database._owners._low[0] = 1
    for _ in range(120):
        file.add(c50=1000)
    assert file.oldest(GENUINE) > 1
    assert 0 not in file.database._owners._rows


def test_rows_deleted_by_age_are_counted(file: File) -> None:
    for _ in range(10):
        file.add(c50=500, c66=500)
    with file.database.transaction():
        assert file.database._delete_oldest(2000, file.database.running)
    assert file.database._owners._rows == {GENUINE: 4000, FLOOD: 4000}


def test_rows_deleted_for_want_of_room_before_they_are_too_old_are_counted(file: File) -> None:
    file.fill()
    assert file.database.deleted_young == file.oldest_of_all() - 1
    client, age = file.database.youngest
    assert client == GENUINE
    assert 0 < age <= file.now * SECOND


def test_rows_with_identifiers_far_apart_are_all_read(file: File) -> None:
    file.add(c50=1)
    for _ in range(120):
        file.add(c50=3, c66=1000)
    reader = Reader(str(file.path))
    rows = [row.id for row in reader.rows(reader.select(None, None))]
    reader.close()
    assert rows == [row[0] for row in query(file.path, "SELECT id FROM samples ORDER BY id")]


def test_deleted_rows_of_one_address_leave_pages_free(file: File) -> None:
    """An address's rows lie between another's, and SQLite merges the pages that are left."""
    while file.database._free_pages() > LIMITS.pages // 4:
        file.add(c50=20, c66=400)
    free = file.database._free_pages()
    with file.database.transaction():
        for _ in range(100):
            file.database._owners.delete(FLOOD, 2000, file.database.newest)
    assert file.database._free_pages() - free > 0.8 * (LIMITS.pages - free)
    with sqlite3.connect(file.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert PAGE == 1024


def test_a_line_names_whose_rows_are_deleted_before_they_are_too_old(bench: Make) -> None:
    hands = Hands()
    one = bench(hands=hands, max_size_mib=1)
    history = one.open([METERS[0]])
    for _ in range(3):
        hands.pass_time(28_800)
        for number in range(EARLY):
            one.record("m", registers(number), client=client_number("192.168.1.51"))
        one.wait(lambda: history.done == history._recorded)
    assert one.stop()
    [line] = [line for line in one.logged if "is full" in line]
    assert line == (
        f"[HISTORY] {one.path} is full: rows younger than max_age_days (400) are deleted, "
        "now those of 192.168.1.51 (0.3 days old); raise max_size_mib"
    )
    assert history.deleted_young == 3 * EARLY - len(one.rows())
    assert {(kind, text) for kind, text, _ in one.noted} == {
        ("deleted", "rows of the history younger than max_age_days (400) were deleted: it is full")
    }
    assert one.noted[-1][2].startswith(f"{history.deleted_young} since the start, the last ones of 192.168.")
