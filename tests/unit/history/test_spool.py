"""Samples that are not on disk yet outlive a kill."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from smart_meter.config import MeterConfig
from smart_meter.history import spool as spools
from smart_meter.history.spool import Spool
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, RegisterMap
from tests.unit.history.bench import Bench, Hands, meter, query, registers

P = meter("pv")
NEVER = 3600


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def start(bench: Callable[..., Bench], hands: Hands, tmp_path: Path) -> Callable[..., Bench]:
    """Open a history, and kill the one that was opened before."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    running: list[Bench] = []

    def make(*meters: MeterConfig, **settings: object) -> Bench:
        one = bench(hands=hands, **{"commit_interval": NEVER, "runtime": runtime, **settings})
        if running:
            kill(running.pop())
        one.open(meters or (P,))
        running.append(one)
        if one.path.parent.is_dir():
            one.wait(lambda: one.history.generation or one.history.failing)
        return one

    return make


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a block hold some ten samples."""
    monkeypatch.setattr(spools, "BLOCK", 1024)
    monkeypatch.setattr(spools, "BLOCKS", 8)
    monkeypatch.setattr(spools, "SIZE", spools._FIRST + 8 * 1024)


def kill(one: Bench) -> None:
    """End the thread that writes, without another commit."""
    writer = one.history._writer
    writer._write = lambda **_: None  # type: ignore[method-assign]  # stands for the kill
    writer.closing = True
    one.history._queue.wake()
    assert writer.join(20)


def spool_of(one: Bench) -> Path:
    assert one.runtime is not None
    return one.runtime / "spool"


def stored(one: Bench) -> list[int]:
    return [int.from_bytes(row) for row in one.rows()]


def record(one: Bench, *numbers: int) -> None:
    for number in numbers:
        one.record("pv", registers(number))


def test_samples_that_were_not_stored_before_a_kill_are_rows_after_the_next_start(
    start: Callable[..., Bench], hands: Hands
) -> None:
    killed = start()
    killed.record("pv", registers(1), measured=1_500_000_000, flags=1, client=7)
    record(killed, 2, 3)
    hands.pass_time(5)
    one = start()
    one.wait(lambda: one.history.stored == 3)
    assert one.rows("registers, measured, flags, client") == [
        (registers(1), 1_500_000_000, 1, 7),
        (registers(2), None, 0, None),
        (registers(3), None, 0, None),
    ]
    assert one.logged == [
        f"[HISTORY] 3 samples that the last run had not stored are taken from {spool_of(one)}"
    ]


def test_the_newest_of_them_is_restored_with_its_age(start: Callable[..., Bench], hands: Hands) -> None:
    killed = start()
    killed.record("pv", registers(1), flags=1, measured=1_500_000_000, client=7)
    hands.pass_time(12)
    restored = start().restored["pv"]
    assert restored[:4] == (registers(1), 1_500_000_000, 1, 12.0)
    assert restored.client == 7
    assert start(meter("pv", scale=10)).restored == {}


def test_each_is_a_row_once_over_any_number_of_kills(start: Callable[..., Bench]) -> None:
    numbers = iter(range(1, 1000))
    chance = random.Random(1)  # noqa: S311 - moments, not secrets
    recorded = []
    for _ in range(30):
        one = start()
        if chance.random() < 0.5:
            one.wait(lambda: one.history.done == one.history._writer._queue.next_ticket - 1)  # noqa: B023 - called at once
        for _ in range(chance.randrange(4)):
            recorded.append(next(numbers))
            record(one, recorded[-1])
        if chance.random() < 0.2:
            one.stop()
    one = start()
    assert one.stop()
    assert stored(one) == recorded


def test_a_commit_that_was_the_last_thing_before_the_kill_is_not_repeated(
    start: Callable[..., Bench], hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Spool, "mark_committed", lambda *_: None)
        killed = start()
        record(killed, 1, 2)
        hands.pass_time(NEVER)
        killed.history.reconfigure(killed.config, [P])
        killed.wait(lambda: killed.history.stored == 2)
        record(killed, 3)
    one = start()
    one.wait(lambda: one.history.done == 3)
    assert one.history.stored == 1
    assert stored(one) == [1, 2, 3]


def test_a_clean_stop_stores_all_and_leaves_no_spool(start: Callable[..., Bench]) -> None:
    one = start()
    record(one, 1)
    assert spool_of(one).exists()
    assert one.stop()
    assert stored(one) == [1]
    assert not spool_of(one).exists()


def test_samples_that_a_stop_could_not_store_are_stored_by_the_next_start(
    start: Callable[..., Bench], tmp_path: Path
) -> None:
    missing = tmp_path / "data"
    one = start(path=missing / "history.db")
    record(one, 1, 2)
    assert not one.stop()
    assert (
        one.logged[-1]
        == f"[HISTORY] 2 samples could not be written and wait in {spool_of(one)} for the next start"
    )
    missing.mkdir()
    again = start(path=missing / "history.db")
    assert again.stop()
    assert stored(again) == [1, 2]


def test_they_have_the_clock_of_their_time(start: Callable[..., Bench], hands: Hands) -> None:
    killed = start()
    record(killed, 1)
    hands.pass_time(1)
    hands.wall += 10_000
    killed.history._writer._check_clock_and_file()
    record(killed, 2)
    hands.pass_time(1)
    one = start()
    record(one, 3)
    assert one.stop()
    arrived = [at for (at,) in query(one.path, "SELECT arrived FROM arrivals ORDER BY id")]
    assert arrived == [1_600_000_000.0, 1_600_010_001.0, 1_600_010_002.0]


def test_each_has_the_map_that_it_came_under(start: Callable[..., Bench]) -> None:
    gaps = MeterConfig(
        "pv", 1, RegisterMap((Measurement("a", 0), Measurement("b", 1000, DataType.UINT32, unit="W")))
    )
    killed = start()
    record(killed, 1)
    killed.history.reconfigure(killed.config, [gaps, meter("second", 2)])
    killed.record("pv", b"\0\5" + bytes(1998) + b"\0\0\0\6")
    killed.record("second", registers(4))
    one = start(meter("second", 2), gaps)
    assert one.restored["pv"].registers == b"\0\5" + bytes(1998) + b"\0\0\0\6"
    assert one.restored["second"].registers == registers(4)
    assert one.stop()
    assert one.rows() == [registers(1), b"\0\5\0\0\0\6", registers(4)]
    assert query(
        one.path,
        "SELECT name, unit_id, json_extract(definition, '$[0].name') FROM samples "
        "JOIN meters ON meters.id = meter JOIN maps ON maps.id = map ORDER BY samples.id",
    ) == [("pv", 1, "P"), ("pv", 1, "a"), ("second", 2, "P")]


@pytest.mark.usefixtures("small")
def test_a_record_that_is_torn_ends_the_spool(start: Callable[..., Bench]) -> None:
    killed = start()
    record(killed, 1, 2)
    spool = killed.history._spool
    assert spool is not None
    before, whole = spool._place, bytes(spool._map)
    record(killed, 3)
    after, content = spool._place, bytes(spool._map)
    for cut in range(before, after):
        spool_of(killed).write_bytes(content[:cut] + whole[cut:])
        torn = Spool.open(spool_of(killed), "a")
        assert torn is not None
        assert [sample.number for sample in torn.find()] == (
            [1, 2] if content[cut:after].strip(b"\0") else [1, 2, 3]
        )
        torn.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it has another size"),
        (b"notes\n" * 100, "it has another size"),
        (bytes(spools.SIZE), "it is another program's, or damaged"),
        (None, "it is of another boot"),
    ],
)
def test_another_file_in_its_place_is_ignored(
    start: Callable[..., Bench], hands: Hands, content: bytes | None, reason: str
) -> None:
    killed = start()
    record(killed, 1)
    if content is None:
        hands.reboot("b", 5)
    else:
        spool_of(killed).unlink()
        spool_of(killed).write_bytes(content)
    one = start()
    assert one.logged == [f"[HISTORY] {spool_of(one)} is ignored: {reason}"]
    assert one.restored == {}
    record(one, 2)
    again = start()
    assert again.stop()
    assert stored(again) == [2]


@pytest.mark.usefixtures("small")
def test_any_content_behind_the_header_is_safe(start: Callable[..., Bench]) -> None:
    killed = start()
    record(killed, *range(50))
    content = bytearray(spool_of(killed).read_bytes())
    chance = random.Random(1)  # noqa: S311 - damage, not secrets
    for _ in range(200):
        damaged = bytearray(content[: spools.SIZE])
        for _ in range(chance.randrange(1, 20)):
            damaged[4096 + chance.randrange(8 * 1024)] = chance.randrange(256)
        spool_of(killed).write_bytes(damaged)
        spool = Spool.open(spool_of(killed), "a")
        assert spool is not None
        numbers = [sample.number for sample in spool.find()]
        assert set(numbers) <= set(range(1, 51))
        assert numbers == sorted(numbers)
        spool.close()


def test_a_folder_or_a_link_in_its_place_costs_the_spool_only(
    start: Callable[..., Bench], tmp_path: Path
) -> None:
    one = start()
    assert one.stop()
    spool_of(one).mkdir()
    (spool_of(one) / "file").touch()
    again = start()
    assert again.history.spooled is False
    assert "can't be written" in again.logged[-1]
    record(again, 1)
    assert again.stop()
    assert stored(again) == [1]


def test_with_no_commit_interval_nothing_is_spooled_but_an_earlier_spool_is_stored(
    start: Callable[..., Bench],
) -> None:
    killed = start()
    record(killed, 1)
    one = start(commit_interval=0)
    assert one.history.spooled is None
    one.wait(lambda: one.history.stored == 1)
    one.stored("pv", registers(2))
    again = start(commit_interval=0)
    again.stored("pv", registers(3))
    assert stored(again) == [1, 2, 3]
    assert again.stop()
    assert not spool_of(again).exists()


def test_a_reload_begins_and_ends_it(start: Callable[..., Bench]) -> None:
    one = start(commit_interval=0)
    one.stored("pv", registers(1))
    assert not spool_of(one).exists()
    one.reconfigure(commit_interval=NEVER)
    one.history.reconfigure(one.config, [P])
    record(one, 2, 3)
    again = start()
    again.wait(lambda: len(stored(again)) == 3)
    again.reconfigure(commit_interval=0)
    again.history.reconfigure(again.config, [P])
    again.stored("pv", registers(4))
    again.reconfigure(commit_interval=NEVER)
    again.history.reconfigure(again.config, [P])
    record(again, 5)
    last = start()
    assert last.stop()
    assert stored(last) == [1, 2, 3, 4, 5]


def test_without_a_folder_there_is_none(start: Callable[..., Bench], tmp_path: Path) -> None:
    assert start(runtime=None).history.spooled is False
    one = start(runtime=tmp_path / "none")
    assert one.history.spooled is False
    assert one.logged == [
        f"[HISTORY] {tmp_path}/none/spool can't be written: No such file or directory. "
        "A kill would lose samples"
    ]


@pytest.mark.usefixtures("small")
def test_a_full_spool_loses_the_oldest(start: Callable[..., Bench]) -> None:
    killed = start()
    record(killed, *range(1, 1001))
    one = start()
    assert one.stop()
    rows = stored(one)
    assert rows == list(range(1001 - len(rows), 1001))
    assert len(rows) > 60
    assert spool_of(killed).exists() is False


@pytest.mark.usefixtures("small")
def test_stored_samples_make_room_for_others(start: Callable[..., Bench], hands: Hands) -> None:
    one = start(commit_interval=0.01)
    for number in range(1, 1001):
        record(one, number)
        if number % 40 == 0:
            hands.pass_time(1)
            one.history._queue.wake()
            one.wait(lambda: one.history.done == number)  # noqa: B023 - called at once
    assert stored(one) == list(range(1, 1001))
    one.reconfigure(commit_interval=NEVER)
    one.history.reconfigure(one.config, [P])
    record(one, 1001)
    again = start()
    assert again.stop()
    assert stored(again) == list(range(1, 1002))


def test_only_what_was_used_takes_memory(start: Callable[..., Bench]) -> None:
    one = start()
    record(one, 1)
    assert spool_of(one).stat().st_size == spools.SIZE
    assert spool_of(one).stat().st_blocks * 512 <= spools.BLOCK + 2 * spools._FIRST


def test_without_room_in_memory_samples_wait_in_the_process_only(
    start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = start()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    record(one, 1)
    assert one.history.spooled is False
    assert one.stop()
    assert stored(one) == [1]


def test_a_spool_holds_no_more_samples_than_may_wait(
    start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = start()
    record(killed, *range(1, 101))
    monkeypatch.setattr("smart_meter.history.sample_queue.MAX_WAITING", 40)
    one = start()
    assert one.history.lost == 61
    assert one.logged[-1].endswith("; 61 older ones were lost")
    assert one.stop()
    assert stored(one) == list(range(62, 101))


def test_sequence_numbers_do_not_repeat_over_a_kill(start: Callable[..., Bench]) -> None:
    killed = start()
    killed.wait(lambda: killed.history.generation)
    generation = killed.history.generation
    record(killed, 1, 2, 3)
    killed.history.use_numbers({"pv": 3})
    one = start()
    assert one.restored["pv"].sequence >= 3
    one.wait(lambda: one.history.generation)
    assert one.history.generation == generation
