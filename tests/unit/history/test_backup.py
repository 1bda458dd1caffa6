"""Copies of a history: made while it is written to, and taken back while the service runs."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from smart_meter.cli.main import main
from smart_meter.history import backup
from tests.unit.history.bench import Bench, Hands, change, meter, query, registers
from tests.unit.history.version_1 import FirstRelease

Make = Callable[..., Bench]
M = meter("m")
pytestmark = pytest.mark.usefixtures("impatient")


def restored(one: Bench) -> None:
    """Wait until the writer has taken a copy."""
    assert one.hands
    one.hands.pass_time(1)
    one.wait(lambda: not backup.is_waiting(str(one.path)) and not backup.has_rows_to_append(str(one.path)))


def test_a_backup_is_a_whole_copy_of_a_file_in_use(bench: Make, tmp_path: Path) -> None:
    one = bench(hands=Hands())
    one.open([M])
    for number in range(100):
        one.stored("m", registers(number))
    copy = tmp_path / "copy.db"
    assert main(["history", "backup", str(copy), "--path", str(one.path)]) == 0
    one.stored("m", registers(100))
    assert one.rows(path=copy) == [registers(number) for number in range(100)]
    assert len(one.rows()) == 101
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.db"]
    assert main(["history", "backup", str(copy), "--path", str(one.path)]) == 2


def test_a_damaged_file_gives_no_copy(bench: Make, tmp_path: Path) -> None:
    one = bench(hands=Hands())
    history = one.open([M])
    for number in range(5000):
        one.record("m", registers(number))
    one.wait(lambda: history.done == 5000)
    one.stop()
    with one.path.open("r+b") as file:
        file.seek(20 * 1024)
        file.write(b"\xff" * 20 * 1024)
    assert main(["history", "backup", str(tmp_path / "copy.db"), "--path", str(one.path)]) == 1
    assert list(tmp_path.glob("copy*")) == []


def test_a_copy_is_restored_to_a_new_card_while_samples_arrive(bench: Make, tmp_path: Path) -> None:
    hands = Hands()
    old = bench(tmp_path / "old.db", hands=hands)
    old.open([M])
    for number in range(10):
        old.stored("m", registers(number))
        hands.pass_time(60)
    old.stop()
    hands.reboot("b", off=3600)
    one = bench(hands=hands)
    history = one.open([M])
    for number in range(100, 105):
        one.stored("m", registers(number), client=7, measured=number)
        hands.pass_time(60)
    generations = [history.generation, *generations_of(old.path)]
    copy_to(one, old.path)
    restored(one)
    one.stored("m", registers(200))
    assert one.rows() == [registers(number) for number in (*range(10), *range(100, 105), 200)]
    assert one.rows("client, measured")[9:12] == [(None, None), (7, 100), (7, 101)]
    arrived = [row[0] for row in query(one.path, "SELECT arrived FROM arrivals ORDER BY id")]
    assert arrived == sorted(arrived)
    assert arrived[10] - arrived[9] == pytest.approx(3660, abs=0.01)
    assert one.rows("running") == sorted(one.rows("running"))
    assert history.generation not in generations
    assert one.logged[-1].endswith("was restored from a copy; 5 rows of the file before were appended")
    assert one.stop()
    assert [path.name for path in tmp_path.glob("history*")] == ["history.db"]


def generations_of(path: Path) -> list[int]:
    return [row[0] for row in query(path, "SELECT generation FROM generations")]


def copy_to(one: Bench, copy: Path) -> None:
    """Put a copy beside the history as the command does, without waiting."""
    from smart_meter.cli.commands import history_copy

    backup.copy(
        str(copy), str(one.path) + backup.COPY, finish=lambda part: history_copy._prepare(part, str(one.path))
    )


def test_rows_that_a_copy_of_the_same_history_has_are_not_appended_twice(bench: Make, tmp_path: Path) -> None:
    one = bench(hands=Hands())
    one.open([M])
    for number in range(10):
        one.stored("m", registers(number))
    copy = tmp_path / "copy.db"
    backup.copy(str(one.path), str(copy))
    for number in range(10, 15):
        one.stored("m", registers(number))
    copy_to(one, copy)
    restored(one)
    assert one.rows() == [registers(number) for number in range(15)]


def test_a_copy_of_the_first_release_is_restored(bench: Make, tmp_path: Path) -> None:
    release = FirstRelease(tmp_path / "old.db")
    release.create()
    release.record(M, [registers(number) for number in range(10)])
    one = bench(hands=Hands(boot="b"))
    one.open([M])
    one.stored("m", registers(100))
    copy_to(one, tmp_path / "old.db")
    restored(one)
    assert one.rows() == [registers(number) for number in (*range(10), 100)]


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_restore_that_is_cut_off_goes_on_at_the_next_start(
    bench: Make, tmp_path: Path, renamed: int
) -> None:
    old = bench(tmp_path / "old.db", hands=Hands())
    old.open([M])
    old.stored("m", registers(1))
    old.stop()
    hands = Hands(boot="b")
    one = bench(hands=hands)
    one.open([M])
    one.stored("m", registers(2))
    one.stop()
    copy_to(one, old.path)
    if renamed >= 1:
        one.path.rename(f"{one.path}{backup.BEFORE}")
    if renamed == 2:
        Path(f"{one.path}{backup.COPY}").rename(one.path)
    one.open([M])
    restored(one)
    assert one.rows() == [registers(1), registers(2)]


def test_rows_that_were_appended_before_the_power_went_are_not_appended_again(
    bench: Make, tmp_path: Path
) -> None:
    old = bench(tmp_path / "old.db", hands=Hands())
    old.open([M])
    old.stored("m", registers(1))
    old.stop()
    one = bench(hands=Hands(boot="b"))
    one.open([M])
    for number in range(2, 5):
        one.stored("m", registers(number))
    one.stop()
    copy_to(one, old.path)
    one.path.rename(f"{one.path}{backup.BEFORE}")
    Path(f"{one.path}{backup.COPY}").rename(one.path)
    change(one.path, "INSERT INTO progress VALUES ('appended', 2)")
    one.open([M])
    restored(one)
    assert one.rows() == [registers(1), registers(4)]


def test_a_copy_that_waits_before_the_first_start_is_the_history(bench: Make, tmp_path: Path) -> None:
    old = bench(tmp_path / "old.db", hands=Hands())
    old.open([M])
    old.stored("m", registers(1))
    old.stop()
    one = bench(hands=Hands(boot="b"))
    copy_to(one, old.path)
    one.open([M])
    assert one.restored["m"].registers == registers(1)
    one.stored("m", registers(2))
    assert one.rows() == [registers(1), registers(2)]


def test_the_command_says_when_the_service_does_not_run(
    bench: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from smart_meter.cli.commands import history_copy

    monkeypatch.setattr(history_copy, "_NOT_RUNNING_SECONDS", 0.0)
    old = bench(tmp_path / "old.db", hands=Hands())
    old.open([M])
    old.stored("m", registers(1))
    old.stop()
    path = tmp_path / "history.db"
    assert main(["history", "restore", str(old.path), "--path", str(path)]) == 0
    assert "it takes the copy when it starts" in capsys.readouterr().out
    with closing(sqlite3.connect(f"{path}{backup.COPY}")) as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (1,)
    assert main(["history", "restore", str(old.path), "--path", str(path)]) == 2
    assert main(["history", "restore", "--path", str(path)]) == 2


def test_rows_that_cannot_be_read_are_kept_and_the_copy_is_used(bench: Make, tmp_path: Path) -> None:
    old = bench(tmp_path / "old.db", hands=Hands())
    old.open([M])
    old.stored("m", registers(1))
    old.stop()
    one = bench(hands=Hands(boot="b"))
    one.open([M])
    one.stored("m", registers(2))
    one.stop()
    copy_to(one, old.path)
    one.path.rename(f"{one.path}{backup.BEFORE}")
    Path(f"{one.path}{backup.COPY}").rename(one.path)
    Path(f"{one.path}{backup.BEFORE}").write_bytes(b"no rows" * 1000)
    one.open([M])
    restored(one)
    one.stored("m", registers(3))
    assert one.rows() == [registers(1), registers(3)]
    assert len(list(tmp_path.glob("history.db.before-restore.damaged-*"))) == 1
