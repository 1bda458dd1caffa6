"""Sequence numbers: none repeats or goes back within a generation, however the service ended."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from smart_meter.history.sequence_numbers import BLOCK, SequenceNumbers
from tests.unit.history.bench import Bench, Hands, change, meter, query, registers
from tests.unit.history.version_1 import FirstRelease

Make = Callable[..., Bench]
M = meter("m")


def generations(path: Path) -> list[int]:
    return [row[0] for row in query(path, "SELECT generation FROM generations ORDER BY first")]


def killed(one: Bench, to: Path) -> Path:
    """Return a copy of the file as a kill or a power cut would leave it now."""
    for suffix in ("", "-wal"):
        shutil.copy(f"{one.path}{suffix}", f"{to}{suffix}")
    return to


def test_a_clean_stop_keeps_the_exact_number(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.open([M])
    one.stored("m", registers(1))
    history.use_numbers({"m": 57})
    assert one.stop()
    again = one.open([M])
    assert again.first_number("m") == 57
    assert one.restored["m"].sequence == 57
    one.wait(lambda: again.generation)
    assert generations(one.path) == [again.generation]


def test_a_kill_skips_numbers_and_repeats_none(bench: Make, tmp_path: Path) -> None:
    one = bench(hands=Hands())
    history = one.open([M])
    one.wait(lambda: history.generation)
    # These were seen by readers, and none of them is on disk.
    history.use_numbers({"m": 1000})
    other = bench(killed(one, tmp_path / "killed.db"), hands=Hands())
    again = other.open([M])
    assert again.first_number("m") == BLOCK
    other.wait(lambda: again.generation)
    assert again.generation == history.generation
    third = bench(killed(other, tmp_path / "again.db"), hands=Hands()).open([M])
    assert third.first_number("m") == 2 * BLOCK


def test_numbers_are_reserved_before_they_are_used_up(bench: Make) -> None:
    one = bench(hands=Hands(), commit_interval=3600)
    history = one.open([M])
    for number in range(0, 5 * BLOCK, BLOCK // 4):
        history.use_numbers({"m": number})
        one.wait(lambda number=number: history._writer.numbers.reserved.get("m", 0) > number + BLOCK // 4)  # type: ignore[misc]  # mypy can't infer a default
        assert history.generation


def test_with_no_commit_interval_numbers_are_reserved_without_a_sample(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.open([M])
    history.use_numbers({"m": BLOCK})
    one.wait(lambda: history.generation)
    assert query(one.path, "SELECT value FROM progress WHERE name = 'sequence:m'") == [(2 * BLOCK,)]


def test_a_changed_map_does_not_set_the_number_back(bench: Make) -> None:
    one = bench(hands=Hands())
    one.open([meter("m", scale=1)])
    for number in range(50):
        one.record("m", registers(number))
    assert one.stop()
    for scale, expected in ((10, 50), (1, 51)):
        history = one.open([meter("m", scale=scale)])
        assert history.first_number("m") == expected
        one.stored("m", registers(7))
        assert one.stop()


def test_the_number_of_a_file_of_the_first_release_is_its_newest_row(bench: Make) -> None:
    one = bench(hands=Hands())
    release = FirstRelease(one.path)
    release.create()
    release.record(M, [registers(number) for number in range(20)])
    history = one.open([M])
    assert history.first_number("m") == 20
    one.wait(lambda: history.generation)
    assert generations(one.path) == [history.generation]


def test_the_first_releases_rows_count_after_a_rollback(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.open([M])
    history.use_numbers({"m": 3})
    assert one.stop()
    FirstRelease(one.path).record(M, [registers(number) for number in range(20)])
    assert one.open([M]).first_number("m") == 20


def test_there_is_no_generation_until_the_numbers_are_on_disk(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.make([M])
    one.history = history
    assert history.generation == 0
    one.open([M])
    one.wait(lambda: one.history.generation)
    assert one.history.generation == generations(one.path)[0]


@pytest.mark.usefixtures("impatient")
def test_a_file_that_could_not_be_read_at_the_start_gets_a_generation_of_its_own(bench: Make) -> None:
    one = bench(hands=Hands())
    one.open([M])
    one.stored("m", registers(1))
    one.stop()
    before = generations(one.path)
    hidden = one.path.with_name("hidden.db")
    one.path.rename(hidden)
    one.path.mkdir()
    history = one.open([M])
    assert history.failing
    history.use_numbers({"m": 1})
    assert history.generation == 0
    one.path.rmdir()
    hidden.rename(one.path)
    assert one.hands
    one.hands.pass_time(1)
    one.wait(lambda: history.generation)
    assert generations(one.path) == [*before, history.generation]
    assert history.generation not in before


@pytest.mark.usefixtures("impatient")
def test_a_file_that_fails_for_a_while_keeps_its_generation(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.open([M])
    one.stored("m", registers(1))
    generation = history.generation
    history._writer._close()
    one.stored("m", registers(2))
    assert history.generation == generation
    assert generations(one.path) == [generation]


def test_another_file_gets_a_generation_of_its_own(bench: Make, tmp_path: Path) -> None:
    other = bench(tmp_path / "other.db", hands=Hands())
    other.open([M])
    other.stored("m", registers(1))
    other.stop()
    before = generations(other.path)
    one = bench(hands=Hands())
    history = one.open([M])
    one.stored("m", registers(1))
    first = history.generation
    one.reconfigure(path=str(other.path))
    history.reconfigure(one.config, [M])
    one.wait(lambda: history.generation not in (0, first))
    assert history.generation not in before
    assert generations(other.path) == [*before, history.generation]


def test_a_meter_that_comes_back_does_not_repeat_its_numbers() -> None:
    numbers = SequenceNumbers()
    numbers.latest = {"m": 5}
    numbers.use({})
    assert numbers.first("m") == 5 + BLOCK
    assert numbers.first("new") == 0


def test_a_file_that_is_left_is_remembered() -> None:
    numbers = SequenceNumbers()
    numbers.latest = {"m": 5}
    numbers.committed(1, numbers.ahead())
    numbers.forget()
    assert (numbers.generation, numbers.first("m")) == (0, 5)


def test_unknown_entries_are_ignored(bench: Make) -> None:
    one = bench(hands=Hands())
    one.open([M])
    one.stop()
    change(one.path, "INSERT INTO progress VALUES ('later', 99)")
    assert one.open([M]).first_number("later") == 0
