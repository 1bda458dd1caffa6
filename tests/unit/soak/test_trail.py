"""The audit trail is configured and read only if the release keeps one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from soak import trail
from soak.trail import Event

HISTORY = Path("/card/history.db")


def test_a_release_with_a_trail_gets_one_beside_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "KEPT", True)
    assert trail.configuration(HISTORY) == '\n[events]\npath = "/card/events.db"\n'


def test_a_release_without_a_trail_gets_no_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "KEPT", False)
    assert trail.configuration(HISTORY) == ""
    assert trail.read(HISTORY) is None


def test_events_are_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "KEPT", True)
    with closing(sqlite3.connect(tmp_path / "events.db")) as database, database:
        database.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, kind, client, text, detail, first)")
        database.execute("INSERT INTO events VALUES (2, 'thinned', '192.168.1.210', 'sends', '5', 9)")
        database.execute("INSERT INTO events VALUES (1, 'start', '', 'started', '', 7)")
    assert trail.read(tmp_path / "history.db") == [
        Event("start", "", "started", "", 1, 7),
        Event("thinned", "192.168.1.210", "sends", "5", 2, 9),
    ]


def test_a_file_that_is_not_there_yet_raises(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        trail.events(tmp_path / "events.db")
