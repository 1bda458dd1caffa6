"""How much is kept: by running time, and by the file's size."""

from pathlib import Path

import pytest

from smart_meter.config import HistoryConfig
from smart_meter.history.database import Database
from smart_meter.history.limits import PAGE, StorageLimits
from smart_meter.history.running_time import DAY, SECOND, first_segment
from smart_meter.history.sample_queue import QueuedSample
from tests.unit.history.bench import meter, query

METERS = {0: meter("busy", 1), 1: meter("silent", 2)}
HOUR = 3600


class Filling:
    """A database that the test fills."""

    def __init__(self, path: Path, limits: StorageLimits) -> None:
        self.path = path
        self.database = Database(str(path), limits, 1)
        self.recorded = 0
        self.largest = 0

    def add(self, count: int, seconds: float, *, key: int = 0, size: int = 2) -> None:
        """Commit rows, one every `seconds`."""
        data = b"\x05" * size
        batch: list[QueuedSample] = []
        for _ in range(count):
            batch.append((key, self.recorded * seconds, None, 0, data, 0))
            self.recorded += 1
        self.database.shrink()
        with self.database.transaction():
            if self.database.segment is None:
                self.database.begin_segment(first_segment(None, 0, "a", 0, 1_600_000_000 * SECOND))
            self.database.make_room(count, size)
            self.database.insert(batch, METERS)
            self.more = self.database.expire(self.database.running, count)
        files = [self.path, Path(f"{self.path}-wal")]
        self.largest = max(self.largest, sum(file.stat().st_size for file in files if file.exists()))

    def ids(self) -> tuple[int, int, int]:
        [ids] = query(self.path, "SELECT min(id), max(id), count(*) FROM samples")
        return tuple(ids)


def limits(days: float = 400, mib: float = 1024) -> StorageLimits:
    return StorageLimits.of(HistoryConfig(max_age_days=days, max_size_mib=mib))


def test_only_rows_older_than_the_limit_are_deleted(tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits(days=10))
    for _ in range(15):
        filling.add(24, HOUR)
    assert filling.ids() == (360 - 240, 360, 241)
    [(oldest, newest)] = query(filling.path, "SELECT min(running), max(running) FROM samples")
    assert newest - oldest == 10 * DAY


def test_one_commit_deletes_a_bounded_number_and_returns_whether_there_are_more(tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits())
    filling.add(9000, 60)
    filling.database.set_limits(limits(days=1))
    counts = []
    more = True
    while more:
        filling.add(1, 60)
        more = filling.more
        counts.append(filling.ids()[2])
    assert counts == [7001, 5002, 3003, 1441]


@pytest.mark.parametrize("size", [2, 240, 20_000])
def test_the_file_with_its_wal_stays_under_its_limit_and_keeps_the_newest(size: int, tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits(mib=2))
    count = max(limits(mib=2).transaction // (size + 40), 1)
    rounds = 8 * 2 * 2**20 // (count * (size + 40))
    for _ in range(rounds):
        filling.add(count, 0.001, size=size)
    first, last, kept = filling.ids()
    assert last == rounds * count
    assert last - first == kept - 1
    assert kept * (size + 20) > 2**20 / 2
    assert filling.largest <= 2 * 2**20


def test_a_lowered_limit_frees_disk_space(tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits(mib=4))
    for _ in range(60):
        filling.add(1000, 0.001, size=20)
    assert filling.path.stat().st_size > 1.5 * 2**20
    filling.database.set_limits(limits(mib=1))
    for _ in range(100):
        filling.add(10, 0.001)
    filling.database.close()
    assert filling.path.stat().st_size <= limits(mib=1).pages * PAGE
    assert filling.ids()[1] == 61_000


def test_the_newest_row_is_never_deleted(tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits(days=1 / 24))
    filling.add(1, HOUR)
    filling.recorded = 100
    filling.add(1, HOUR)
    assert filling.ids() == (2, 2, 1)


def test_a_meters_last_sample_is_kept_when_its_rows_are_deleted(tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits(days=1))
    filling.add(1, 60, key=1)
    for _ in range(30):
        filling.add(240, 60)
    filling.database.close()
    assert query(filling.path, "SELECT count(*) FROM samples JOIN meters ON meters.id = meter "
                 "WHERE name = 'silent'") == [(0,)]  # fmt: skip
    store = Database(str(filling.path), limits(), 1)
    last = store.last(METERS[1])
    assert last is not None
    assert (last.registers, last.id, last.segment) == (b"\x05\x05", 1, store.last_segment)
    store.close()


def test_clock_segments_without_rows_are_deleted_except_the_current_one(tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits(days=1))
    for number in range(5):
        with filling.database.transaction():
            before = filling.database.segment
            filling.database.begin_segment(
                first_segment(
                    before, filling.database.running, str(number), filling.recorded * HOUR * SECOND, number
                )
            )
        filling.add(24, HOUR)
    found = query(filling.path, "SELECT first, boot FROM clock")
    assert found == [(73, "3"), (97, "4")]
    assert 73 <= filling.ids()[0] < 97


def test_a_small_limit_leaves_room_for_the_wal() -> None:
    for mib in (1, 2, 16, 1024):
        kept = limits(mib=mib)
        wal = kept.checkpoint + 3 * kept.transaction // PAGE
        assert kept.pages * PAGE > mib * 2**20 / 2
        assert (kept.pages + wal) * PAGE < mib * 2**20


def test_any_number_of_samples_gives_as_many_rows(tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits())
    for count in (1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 1024):
        filling.add(count, 1)
    total = 1 + 7 + 8 + 9 + 63 + 64 + 65 + 511 + 512 + 513 + 1024
    assert filling.ids() == (1, total, total)
    assert query(filling.path, "SELECT count(DISTINCT running), max(running) FROM samples") == [
        (total, (total - 1) * SECOND)
    ]


def test_large_samples_after_many_small_ones_stay_under_the_limit(tmp_path: Path) -> None:
    kept = limits(mib=1)
    filling = Filling(tmp_path / "h.db", kept)
    for _ in range(50):
        filling.add(1000, 0.001)
    for _ in range(10):
        # A single round of deletions frees about 30 pages; this commit needs 90.
        filling.add(30, 0.001, size=2000)
        assert query(filling.path, "PRAGMA page_count") <= [(kept.pages,)]


def test_running_time_never_goes_back(tmp_path: Path) -> None:
    filling = Filling(tmp_path / "h.db", limits())
    for recorded in (100, 40, 70, 101):
        filling.recorded = recorded
        filling.add(1, 1)
    running = [row for (row,) in query(filling.path, "SELECT running FROM samples ORDER BY id")]
    assert running == [100 * SECOND, 100 * SECOND, 100 * SECOND, 101 * SECOND]


def test_every_commit_is_synced(tmp_path: Path) -> None:
    path = str(tmp_path / "h.db")
    for _ in ("new", "existing"):
        database = Database(path, limits(), 1)
        assert database._connection.execute("PRAGMA synchronous").fetchone() == (2,), "not FULL"
        assert database._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.close()
