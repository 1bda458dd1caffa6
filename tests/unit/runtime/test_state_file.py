"""The state file: written atomically, and read only if it is valid."""

import json
from pathlib import Path

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.runtime import state_file
from tests.unit.wire import SAMPLE_REGISTERS, read, write, write_one

NOT_REFUSED = {"refused": 0, "last_refused": None}
CLIENT = {
    "address": "192.168.1.50",
    "peer": "ESP32",
    "meter": "pv",
    "last_sample": None,
    "refused": 0,
    "last_refused": None,
    "reason": "",
    "incomplete": 0,
    "missing": "",
}


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
        "ESP32": {"received": 1, "last_received": 100.0, "served": 0, "last_served": None, **NOT_REFUSED},
        "OPTA": {"received": 0, "last_received": None, "served": 2, "last_served": 105.0, **NOT_REFUSED},
    }
    assert (state["at"], state["started"], state["port"], state["connections"]) == (110.0, 90.0, 502, 2)


def test_it_begins_with_the_health_for_a_shell_script() -> None:
    concentrator = Concentrator(Config(), lambda _: None, lambda: 100.0, lambda: 1.7e9)
    state = state_file.record(concentrator, started=90.0, port=502, history=None)

    assert json.dumps(state).startswith('{"layout": 1, "health": "stale", ')


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


def test_the_last_clients_that_wrote_are_in_the_state(tmp_path: Path) -> None:
    now = 100.0
    meter = Config().meters[0]._replace(sample_starts_at=0)
    config = Config(meters=(meter, meter._replace(name="other", unit_id=2)))
    concentrator = Concentrator(config, lambda _: None, lambda: now, lambda: 1.7e9)
    addresses = [f"192.168.1.{number}" for number in range(50, 54)]
    good, shifted, short, lost = (concentrator.admit(address) for address in addresses)
    assert good
    assert shifted
    assert short
    assert lost
    for _ in range(12):
        good.respond(write(0))
        shifted.respond(write(1))
        short.respond(write(0, SAMPLE_REGISTERS[:6]))
        lost.respond(write(0, unit=255))
        now += 3
        concentrator.tick()

    state = state_file.record(concentrator, started=0, port=502, history=None)

    refused = {"refused": 12, "last_refused": 133.0}
    assert sorted(state["clients"], key=lambda client: client["address"]) == [
        {**CLIENT, "last_sample": 133.0},
        {
            **CLIENT,
            "address": "192.168.1.51",
            **refused,
            "reason": "exception 02 (registers 1-8 of unit 1; the map has registers 0-7)",
        },
        {**CLIENT, "address": "192.168.1.52", "incomplete": 12, "missing": "6-7"},
        {
            **CLIENT,
            "address": "192.168.1.53",
            "meter": None,
            **refused,
            "reason": "exception 0B (registers 0-7 of unit 255; no meter has this unit)",
        },
    ]
    assert (state["peers"]["ESP32"]["refused"], state["peers"]["ESP32"]["last_refused"]) == (24, 133.0)
    state_file.write(tmp_path, state)
    assert state_file.read(tmp_path) == state


def test_the_state_has_sixteen_clients_the_last_one_first(tmp_path: Path) -> None:
    concentrator = Concentrator(Config(), lambda _: None, lambda: 100.0, lambda: 1.7e9)
    for number in range(3, 253):
        session = concentrator.admit(f"192.168.1.{number}")
        assert session
        session.respond(write(1))
    state = state_file.record(concentrator, started=0, port=502, history=None)
    assert [client["address"] for client in state["clients"]] == [
        f"192.168.1.{number}" for number in range(252, 236, -1)
    ]
    state_file.write(tmp_path, state)
    assert state_file.read(tmp_path) == state


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
        {"clients": {}},
        {"clients": [CLIENT] * 17},
        {"clients": [{"address": "192.168.1.50"}]},
        {"clients": [{**CLIENT, "address": 1}]},
        {"clients": [{**CLIENT, "reason": "\x1b[2J"}]},
        {"clients": [{**CLIENT, "reason": "a" * 201}]},
        {"clients": [{**CLIENT, "refused": "12"}]},
        {"clients": [{**CLIENT, "last_refused": float("nan")}]},
    ]
    (tmp_path / state_file.NAME).write_text(json.dumps(right))
    assert state_file.read(tmp_path) == right
    for part in wrong:
        (tmp_path / state_file.NAME).write_text(json.dumps(right | part))
        assert state_file.read(tmp_path) is None, part
    (tmp_path / state_file.NAME).write_text("[" * 100_000)
    assert state_file.read(tmp_path) is None
