"""The state file: written atomically, and read only if it is valid."""

import json
from pathlib import Path

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.runtime import state_file
from tests.unit.wire import read, write, write_one


def test_each_peer_has_its_totals_and_the_time_of_its_last_events() -> None:
    now = 100.0
    concentrator = Concentrator(Config(), lambda _: None, lambda: now, lambda: 1.7e9)
    esp32, opta = concentrator.admit("192.168.1.50"), concentrator.admit("192.168.2.10")
    assert esp32
    assert opta
    esp32.respond(write(0))
    concentrator.tick()
    now = 105.0
    opta.respond(read(0, 8))
    opta.respond(read(0, 8))
    concentrator.tick()
    now = 110.0
    concentrator.tick()

    state = state_file.record(concentrator, started=90.0, port=502, history=None)

    assert state["peers"] == {
        "ESP32": {"received": 1, "last_received": 100.0, "served": 0, "last_served": None},
        "OPTA": {"received": 0, "last_received": None, "served": 2, "last_served": 105.0},
    }
    assert (state["at"], state["started"], state["port"], state["connections"]) == (110.0, 90.0, 502, 2)


def test_a_meter_whose_samples_have_an_assumed_beginning_is_in_the_state() -> None:
    now = 100.0
    concentrator = Concentrator(Config(), lambda _: None, lambda: now, lambda: 1.7e9)
    esp32 = concentrator.admit("192.168.1.50")
    assert esp32
    assert state_file.record(concentrator, started=0, port=502, history=None)["assumed_starts"] == {}
    for cycle in range(5):
        for register in range(8):
            now += 0.1
            esp32.respond(write_one(register, cycle))
    state = state_file.record(concentrator, started=0, port=502, history=None)
    assert state["assumed_starts"] == {"pv": ["192.168.1.50"]}


def test_the_state_can_be_read_until_it_is_removed(tmp_path: Path) -> None:
    state = {"layout": state_file.LAYOUT, "pid": 1}
    state_file.write(tmp_path, state)
    assert state_file.read(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == [state_file.NAME]
    state_file.remove(tmp_path)
    state_file.remove(tmp_path)
    assert state_file.read(tmp_path) is None


def test_a_missing_runtime_directory_is_not_an_error(tmp_path: Path) -> None:
    state_file.write(tmp_path / "gone", {})
    state_file.remove(tmp_path / "gone")
    assert state_file.read(tmp_path / "gone") is None


def test_a_file_of_another_layout_is_ignored(tmp_path: Path) -> None:
    for content in ("no JSON", "[]", json.dumps({"layout": 99})):
        (tmp_path / state_file.NAME).write_text(content)
        assert state_file.read(tmp_path) is None


def test_a_file_with_an_invalid_value_is_ignored(tmp_path: Path) -> None:
    right = {"layout": state_file.LAYOUT, "pid": 1, "port": 502, "at": 1.0, "started": 0, "peers": {}}
    wrong: list[dict[str, object]] = [
        {"pid": "1"},
        {"pid": -1},
        {"port": 70000},
        {"at": None},
        {"at": float("nan")},
        {"started": float("inf")},
        {"started": 10**400},
        {"history": []},
        {"peers": {"ESP32": 1}},
        {"assumed_starts": []},
        {"assumed_starts": {"pv": "192.168.1.50"}},
        {"assumed_starts": {"pv": [1]}},
        {"peers": {"ESP32": {"received": "1"}}},
    ]
    (tmp_path / state_file.NAME).write_text(json.dumps(right))
    assert state_file.read(tmp_path) == right
    for part in wrong:
        (tmp_path / state_file.NAME).write_text(json.dumps(right | part))
        assert state_file.read(tmp_path) is None, part
    (tmp_path / state_file.NAME).write_text("[" * 100_000)
    assert state_file.read(tmp_path) is None
