"""The audit trail's thread: it never stops the service, whatever happens to the file."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smart_meter.log.audit import trail, waiting
from smart_meter.log.audit.kinds import Kind
from tests.unit.log.audit.bench import Running

Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(trail, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(trail, "LOCK_SECONDS", 0.02)
    started: list[Running] = []

    def make(path: Path | None = None, **settings: object) -> Running:
        one = Running(path or tmp_path / "events.db", **settings)  # type: ignore[arg-type]  # as they are
        one.trail.start()
        started.append(one)
        return one

    yield make
    for one in started:
        one.stop()


def test_events_are_in_the_file_after_a_stop(start: Start) -> None:
    running = start()
    running.trail.note(Kind.START, "started")
    for number in range(10_000):
        running.trail.note(Kind.REFUSED, f"wrote register {number}", client="a", meter="pv", detail="x")
    running.trail.note(Kind.STOP, "SIGTERM")
    assert running.stop()
    assert [(kind, count) for kind, *_, count in running.rows()] == [
        ("start", 1),
        ("refused", 10_000),
        ("stop", 1),
    ]
    assert running.trail.written == 10_002
    assert running.logged == []


def test_a_start_is_in_the_file_at_once(start: Start) -> None:
    running = start()
    running.trail.note(Kind.START, "started")
    running.wait(lambda: running.trail.written)
    assert running.rows("kind") == ["start"]


def test_an_ordinary_event_is_in_the_file_soon_although_nothing_follows(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "GATHER_SECONDS", 0.2)
    running = start()
    running.wait(lambda: running.trail._store is not None)
    time.sleep(0.1)
    running.trail.note(Kind.STALE, "no sample")
    running.wait(lambda: running.trail.written)


def test_what_was_noted_before_the_thread_started_is_written(tmp_path: Path) -> None:
    running = Running(tmp_path / "events.db")
    running.trail.note(Kind.START, "started")
    running.trail.start()
    assert running.stop()
    assert running.rows("kind") == ["start"]


def test_a_damaged_file_is_quarantined_and_a_new_one_started(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"no database" * 1000)
    running = start(path)
    running.trail.note(Kind.START, "started")
    assert "renamed to" in running.wait_for_word("not an SQLite database")
    assert running.stop()
    assert sorted(running.rows("kind")) == ["quarantined", "start"]
    assert len(list(tmp_path.glob("events.db.damaged-*"))) == 1


def test_a_page_that_is_damaged_while_it_runs_is_quarantined(start: Start, tmp_path: Path) -> None:
    running = start()
    for number in range(300):
        running.trail.note(Kind.REFUSED, "x" * (number % 40), client=f"c{number % 50}", detail="y" * 200)
    running.trail.note(Kind.START, "started")
    running.wait(lambda: running.trail.written)
    running.stop()
    data = bytearray(running.path.read_bytes())
    data[2048:] = b"\xff" * (len(data) - 2048)
    running.path.write_bytes(data)
    again = start(running.path)
    again.trail.note(Kind.START, "started")
    again.wait_for_word("renamed to")
    assert again.stop()
    assert "start" in again.rows("kind")


def test_a_file_that_is_moved_continues_in_a_new_one(start: Start) -> None:
    running = start()
    running.trail.note(Kind.RELOAD, "one")
    running.wait(lambda: running.trail.written == 1)
    running.path.rename(running.path.with_name("moved.db"))
    running.trail.note(Kind.RELOAD, "two")
    running.wait(lambda: running.trail.written == 2)
    assert running.rows("text") == ["two"]
    assert any("moved or deleted" in line for line in running.logged)


def test_events_wait_while_the_folder_is_missing_and_one_line_names_it(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    running = start(folder / "events.db")
    for number in range(1000):
        running.trail.note(Kind.REFUSED, f"wrote {number}", client="a")
    running.trail.note(Kind.START, "started")
    running.wait_for_word("does not exist")
    time.sleep(0.2)
    assert running.trail.failing
    assert len(running.logged) == 1
    folder.mkdir()
    running.wait_for_word("written again")
    assert running.stop()
    assert running.rows("kind, count") == [("refused", 1000), ("start", 1)]


def test_events_that_can_not_be_written_at_the_stop_are_counted(start: Start, tmp_path: Path) -> None:
    running = start(tmp_path / "none" / "events.db")
    for _ in range(7):
        running.trail.note(Kind.REFUSED, "wrote 1", client="a")
    running.trail.note(Kind.STOP, "SIGTERM")
    assert not running.stop()
    assert running.logged[-1] == "[EVENTS] 8 events could not be written and are lost"


def test_another_programs_lock_delays_only_the_trail(start: Start) -> None:
    running = start()
    running.trail.note(Kind.RELOAD, "one")
    running.wait(lambda: running.trail.written == 1)
    with closing(sqlite3.connect(running.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        running.trail.note(Kind.RELOAD, "two")
        running.wait_for_word("another program has locked it")
        began = time.monotonic()
        running.trail.note(Kind.RELOAD, "three")
        assert time.monotonic() - began < 0.1
    running.wait(lambda: running.trail.written == 3)
    assert running.rows("text") == ["one", "two", "three"]


def test_a_full_disk_keeps_the_events_in_memory_until_there_is_room(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smart_meter.log.audit.store import Store

    running = start()
    running.trail.note(Kind.RELOAD, "one")
    running.wait(lambda: running.trail.written == 1)
    real = Store._prepare
    # SQLite's own limit of pages behaves as a full disk does: SQLITE_FULL.
    running.wait(lambda: running.trail._store is not None)

    def full(self: Store) -> None:
        real(self)
        self._connection.execute(f"PRAGMA max_page_count = {self._value('PRAGMA page_count')}")

    monkeypatch.setattr(Store, "_prepare", full)
    os.rename(running.path, running.path.with_name("other.db"))
    for number in range(60):
        running.trail.note(Kind.REFUSED, "x" * number, client=f"c{number}", detail="d" * 300)
    running.trail.note(Kind.RELOAD, "two")
    running.wait_for_word("no space is left")
    monkeypatch.setattr(Store, "_prepare", real)
    running.wait_for_word("written again")
    assert running.stop()
    assert "two" in running.rows("text")


def test_a_bug_does_not_end_the_thread(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from smart_meter.log.audit.store import Store

    running = start()
    real = Store.write
    monkeypatch.setattr(Store, "write", lambda *_: 1 / 0)
    running.trail.note(Kind.RELOAD, "one")
    running.wait_for_word("ZeroDivisionError")
    monkeypatch.setattr(Store, "write", real)
    running.trail.note(Kind.RELOAD, "two")
    running.wait(lambda: running.trail.written)
    assert running.rows("text") == ["two"]


def test_a_lowered_limit_is_applied_to_the_open_file(start: Start) -> None:
    running = start(max_size_mib=8)
    for number in range(200):
        for kind in (Kind.REFUSED, Kind.PARTIAL):
            running.trail.note(kind, "x" * (number % 45), client=f"c{number % 60}", detail="d" * 300)
        running.trail.note(Kind.RELOAD, f"{number}")
        if number % 10 == 9:
            running.wait(lambda: not running.trail._waiting._events)
    running.wait(lambda: not running.trail._waiting._events and not running.trail._taken)
    running.trail.reconfigure(running.config._replace(max_size_mib=1))
    running.wait(lambda: running.trail._active.max_size_mib == 1)
    assert running.stop()
    assert running.path.stat().st_size <= 2**20


def test_sqlite_is_loaded_in_the_thread() -> None:
    code = "import sys, smart_meter.log.audit.trail; print('sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
