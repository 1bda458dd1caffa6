"""A file that can't be written: samples wait, the reason is logged, and recording resumes by itself."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from smart_meter.history import sample_queue, writer
from smart_meter.history.faults import explain, is_damage
from tests.unit.history.bench import PV, Bench, Hands, registers

Make = Callable[..., Bench]
pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def lock(bench: Make) -> Callable[[Bench], sqlite3.Connection]:
    def take(one: Bench) -> sqlite3.Connection:
        connection = sqlite3.connect(one.path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    return take


def wait_until_recovered(one: Bench) -> None:
    """Advance the fake clock until the history writes again."""

    def later() -> bool:
        assert one.hands
        one.hands.pass_time(1)
        return not one.history.failing

    one.wait(later)


def test_samples_wait_while_another_program_locks_the_file(
    bench: Make, lock: Callable[[Bench], sqlite3.Connection]
) -> None:
    one = bench(hands=Hands(), commit_interval=1)
    history = one.open()
    with closing(lock(one)):
        for number in range(10):
            one.record("pv", registers(number))
        assert one.hands
        one.hands.pass_time(2)
        line = one.wait_for_word("locked")
        assert line == (
            f"[HISTORY] {one.path}: another program has locked it; end that one, or its transaction. "
            "Modbus goes on; samples wait in memory until it can be written"
        )
        assert (history.failing, history.stored_up_to(10)) == (True, None)
    wait_until_recovered(one)
    assert one.rows() == [registers(number) for number in range(10)]
    assert one.logged[1:] == [f"[HISTORY] {one.path}: recording again; no sample was lost"]
    assert (history.stored, history.lost, history.stored_up_to(10)) == (10, 0, True)


def test_with_durable_writes_samples_are_given_up_at_once_but_still_written_later(
    bench: Make, lock: Callable[[Bench], sqlite3.Connection]
) -> None:
    one = bench(hands=Hands())
    history = one.open()
    with closing(lock(one)):
        first = one.record("pv", registers(1))
        one.wait(lambda: history.stored_up_to(first) is not None)
        assert history.stored_up_to(first) is False
        second = one.record("pv", registers(2))
        one.wait(lambda: history.stored_up_to(second) is not None)
        assert history.stored_up_to(second) is False
        assert len(one.logged) == 1
    wait_until_recovered(one)
    third = one.stored("pv", registers(3))
    assert [history.stored_up_to(ticket) for ticket in (first, second, third)] == [False, False, True]
    assert one.rows() == [registers(1), registers(2), registers(3)]


def test_the_writer_waits_for_a_missing_folder(bench: Make, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    one = bench(folder / "history.db", hands=Hands())
    history = one.open()
    assert one.restored == {}
    assert one.logged == [
        f"[HISTORY] {one.path}: the folder {folder} does not exist; create it. "
        "Modbus goes on; samples wait in memory until it can be written"
    ]
    assert history.failing
    one.record("pv", registers(1))
    folder.mkdir()
    wait_until_recovered(one)
    assert one.rows() == [registers(1)]


def test_a_folder_at_the_path_is_not_touched(bench: Make, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.mkdir()
    one = bench(path, hands=Hands())
    one.open()
    assert "it is a folder; name a file" in one.logged[0]
    path.rmdir()
    wait_until_recovered(one)
    one.stored("pv", registers(1))


def test_samples_from_before_the_file_could_be_opened_keep_their_times(bench: Make, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    hands = Hands()
    one = bench(folder / "history.db", hands=hands, commit_interval=1)
    one.open()
    walls = []
    for number in range(3):
        walls.append(hands.wall)
        one.record("pv", registers(number))
        hands.pass_time(600)
    folder.mkdir()
    wait_until_recovered(one)
    with closing(sqlite3.connect(one.path)) as connection:
        arrived = [row[0] for row in connection.execute("SELECT arrived FROM arrivals ORDER BY id")]
    assert arrived == pytest.approx(walls, abs=0.001)


def test_a_clock_step_while_the_disk_fails_applies_to_later_samples_only(bench: Make, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    hands = Hands()
    one = bench(folder / "history.db", hands=hands, commit_interval=1)
    one.open()
    walls = []
    for number in range(4):
        walls.append(hands.wall)
        one.record("pv", registers(number))
        hands.pass_time(2)
        if number % 2:
            hands.wall += 1_000_000
            one.wait(lambda: one.history._writer._seen_offset == one.hands.clocks().offset())  # type: ignore[union-attr]  # it has hands
    folder.mkdir()
    wait_until_recovered(one)
    with closing(sqlite3.connect(one.path)) as connection:
        arrived = [row[0] for row in connection.execute("SELECT arrived FROM arrivals ORDER BY id")]
    assert arrived == pytest.approx(walls, abs=0.001)


def test_if_the_disk_fails_for_long_the_oldest_samples_are_lost_and_counted(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_queue, "MAX_WAITING", 2000)
    monkeypatch.setattr(writer, "MAX_WAITING", 2000)
    folder = tmp_path / "disk"
    one = bench(folder / "history.db", hands=Hands(), commit_interval=1)
    history = one.open()
    one.wait(lambda: history._queue.wake_at == 2000)
    for number in range(5000):
        one.record("pv", registers(number))
    assert history.lost == 4000
    folder.mkdir()
    wait_until_recovered(one)
    assert one.rows() == [registers(number) for number in range(4000, 5000)]
    assert (history.stored, history.lost) == (1000, 4000)
    assert "4000 samples were lost" in one.wait_for_word("recording again")
    assert one.noted == [
        ("lost", "samples were lost: the history could not be written for a while", "4000 samples")
    ]


def test_samples_that_can_not_be_written_at_stop_are_logged_as_lost(bench: Make, tmp_path: Path) -> None:
    one = bench(tmp_path / "none" / "history.db", hands=Hands(), commit_interval=1)
    history = one.open()
    one.record("pv", registers(1))
    one.record("pv", registers(2))
    assert not one.stop()
    assert one.logged[-1] == "[HISTORY] 2 samples could not be written and are lost"
    assert one.noted == [
        ("lost", "samples were lost: the history could not be written at the end", "2 samples")
    ]
    assert (history.lost, history.stored_up_to(2)) == (2, False)


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_moved_or_deleted_file_is_noticed_and_replaced(how: str, bench: Make) -> None:
    hands = Hands()
    one = bench(hands=hands)
    one.open()
    one.stored("pv", registers(1))
    moved = one.path.with_name("moved.db")
    for suffix in ("-wal", "-shm", ""):
        old = Path(f"{one.path}{suffix}")
        old.rename(f"{moved}{suffix}") if how == "moved" else old.unlink()
    hands.pass_time(5)
    one.wait_for_word("was moved or deleted: recording continues in a new file")
    one.stored("pv", registers(2))
    assert one.rows() == [registers(2)]
    if how == "moved":
        assert one.rows(path=moved) == [registers(1)]


def test_a_bug_does_not_end_the_recording(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = bench(hands=Hands())
    history = one.open()
    with monkeypatch.context() as patch:
        patch.setattr("smart_meter.history.database.Database.insert", lambda *_: 1 / 0)
        ticket = one.record("pv", registers(1))
        one.wait(lambda: history.stored_up_to(ticket) is False)
        one.wait_for_word("ZeroDivisionError")
    wait_until_recovered(one)
    one.stored("pv", registers(2))
    assert one.rows() == [registers(1), registers(2)]


def test_a_reason_is_logged_only_once(bench: Make, lock: Callable[[Bench], sqlite3.Connection]) -> None:
    one = bench(hands=Hands())
    history = one.open()
    with closing(lock(one)):
        for number in range(5):
            before = one.commits
            one.record("pv", registers(number))
            assert one.hands
            one.hands.pass_time(1)
            one.wait(lambda before=before: one.commits > before)  # type: ignore[misc]  # mypy can't infer a default
        assert history.failing
        assert len(one.logged) == 1


def test_a_new_configuration_fixes_a_path_that_could_not_be_written(bench: Make, tmp_path: Path) -> None:
    one = bench(tmp_path / "none" / "history.db", hands=Hands(), commit_interval=3600)
    history = one.open()
    one.record("pv", registers(1))
    good = tmp_path / "good.db"
    one.reconfigure(path=str(good), commit_interval=0)
    history.reconfigure(one.config, [PV])
    one.stored("pv", registers(2))
    assert one.rows(path=good) == [registers(1), registers(2)]
    assert not history.failing


def test_any_error_is_explained_even_if_it_is_not_sqlites(tmp_path: Path) -> None:
    assert explain(OSError(30, os.strerror(30)), "x") == "read-only file system"
    assert explain(OSError("odd"), "x") == "OSError('odd')"
    assert explain(sqlite3.OperationalError("odd"), "x") == "odd"
    assert not is_damage(OSError(5, "x"))
