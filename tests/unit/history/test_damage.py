"""A file that is not what we wrote: it is quarantined, never deleted, and recording continues."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from smart_meter.history import writer
from smart_meter.history.quarantine import quarantine
from tests.unit.history.bench import PV, Bench, Hands, change, registers

Make = Callable[..., Bench]
pytestmark = pytest.mark.usefixtures("impatient")
RENAMED = "history.db.damaged-20200913T122640"
"""The fake clock's time."""


def full(bench: Make, rows: int = 2000) -> Bench:
    """Return a bench whose history holds rows and is closed."""
    one = bench(hands=Hands())
    history = one.open()
    for number in range(rows):
        one.record("pv", registers(number) * 8)
    one.wait(lambda: history.done == rows)
    one.stop()
    return one


def nonsense(path: Path) -> None:
    path.write_bytes(b"these are no rows" * 500)


def foreign(path: Path) -> None:
    path.unlink()
    change(path, "CREATE TABLE photos (id)")


def newer(path: Path) -> None:
    change(path, "PRAGMA user_version = 2")


def other_tables(path: Path) -> None:
    change(path, "ALTER TABLE samples RENAME COLUMN running TO walking", "DROP VIEW arrivals")


def cut_off(path: Path) -> None:
    os.truncate(path, 3 * 4096)


def cut_to_a_fragment(path: Path) -> None:
    os.truncate(path, 100)


def overwritten_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 4096)


def overwritten_end(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (nonsense, "it is not an SQLite database"),
        (foreign, "it is another program's database"),
        (newer, "its version is 2; this program reads version 1"),
        (other_tables, "its tables are not this program's: "),
        (cut_off, "it is "),
        (cut_to_a_fragment, "it is "),
        (overwritten_head, "it is not an SQLite database"),
        (overwritten_end, "it is damaged"),
    ],
)
def test_a_damaged_or_foreign_file_is_quarantined_at_the_start(
    harm: Callable[[Path], None], reason: str, bench: Make
) -> None:
    one = full(bench)
    harm(one.path)
    harmed = one.path.read_bytes()
    history = one.open()
    assert one.restored == {}
    assert not history.failing
    assert len(one.logged) == 1
    assert one.logged[0].startswith(f"[HISTORY] {one.path}: {reason}")
    assert one.logged[0].endswith(f". It was renamed to {one.path.with_name(RENAMED)}; a new one was started")
    [(kind, text, detail)] = one.noted
    assert (kind, detail) == ("quarantined", str(one.path.with_name(RENAMED)))
    assert text.startswith(f"the history: {reason}")
    one.stored("pv", registers(7))
    assert one.rows() == [registers(7)]
    assert one.path.with_name(RENAMED).read_bytes() == harmed


@pytest.mark.parametrize("content", [b"", None])
def test_a_file_that_is_empty_or_missing_is_not_quarantined(content: bytes | None, bench: Make) -> None:
    one = bench(hands=Hands())
    if content is not None:
        one.path.write_bytes(content)
    one.open()
    one.stored("pv", registers(1))
    assert one.logged == []


def test_damage_found_at_run_time_is_quarantined_and_no_sample_is_lost(bench: Make) -> None:
    hands = Hands()
    one = full(bench)
    one.hands = hands
    history = one.open()
    one.stored("pv", registers(1))
    # The WAL may hold good copies of pages: they are moved into the file first, which then is overwritten.
    with closing(sqlite3.connect(one.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwritten_end(one.path)
    # Another program's write lets the writer drop what it remembers of the file.
    with one.path.open("r+b") as file:
        file.seek(24)
        file.write(b"\xee\xee\xee\xee")
    with closing(sqlite3.connect(one.path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    ticket = one.record("pv", registers(2))
    one.wait_for_word("renamed to")
    one.wait(lambda: history.stored_up_to(ticket) is not None)
    assert history.stored_up_to(ticket) is True
    assert one.rows() == [registers(2)]
    assert one.path.with_name(RENAMED).exists()


def test_a_disk_that_damages_every_file_is_not_filled_with_quarantined_files(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = full(bench)
    nonsense(one.path)
    history = one.open()
    one.stored("pv", registers(1))

    def corrupt(*_: object) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("smart_meter.history.database.Database.insert", corrupt)
        one.record("pv", registers(2))
        one.wait_for_word("it is damaged. Modbus goes on")
    assert history.failing
    assert len(list(one.path.parent.glob("*damaged*"))) == 1
    assert one.hands
    one.hands.pass_time(writer.QUARANTINE_SECONDS + 1)
    one.wait(lambda: not history.failing)
    assert one.rows() == [registers(1), registers(2)]


def test_a_wal_is_renamed_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").write_text(suffix)
    (tmp_path / "history.db.damaged-20200913T122640-wal").write_text("an older one's")
    assert quarantine(str(path), 1_600_000_000) == f"{path}.damaged-20200913T122640-2"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "history.db.damaged-20200913T122640-wal": "an older one's",
        "history.db.damaged-20200913T122640-2": "",
        "history.db.damaged-20200913T122640-2-wal": "-wal",
        "history.db.damaged-20200913T122640-2-shm": "-shm",
    }


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_an_interrupted_quarantine_leaves_the_file_for_the_next_start(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.db"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").write_text(suffix)
    left = [OSError("the power is cut"), *[None] * renames]
    rename = os.rename

    def interrupted(source: str, target: str) -> None:
        if (error := left.pop()) is not None:
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(OSError, match="the power is cut"):
        quarantine(str(path), 1_600_000_000)
    assert path.exists()


def test_a_foreign_file_at_a_new_path_is_quarantined(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.open()
    other = one.path.with_name("other.db")
    change(other, "CREATE TABLE photos (id)")
    one.reconfigure(path=str(other))
    history.reconfigure(one.config, [PV])
    one.wait_for_word("it is another program's database")
    one.stored("pv", registers(1))
    assert one.rows(path=other) == [registers(1)]
