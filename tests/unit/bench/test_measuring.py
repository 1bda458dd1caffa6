"""What is measured, and what would fail the benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.__main__ import default_servers, our_faults
from bench.figures import Record
from bench.goals import GOALS
from bench.programs import FOLDER, ZONES, Group, Ways
from bench.rows import ROWS, write_bad_frames
from bench.samples import FIRST_TIMESTAMP, PERIODS, PRESET
from bench.servers import configuration, kinds

from smart_meter import config


def test_every_goal_is_about_a_server_that_its_row_measures() -> None:
    for goal in GOALS:
        for figure in (goal.figure, goal.to):
            if figure is not None:
                assert figure.server in ROWS[figure.row].servers
                assert figure.server in default_servers(kinds())


def test_ours_is_configured_with_everything_at_its_default_but_the_limits_of_connections() -> None:
    loaded = config.loads(configuration(Path("/somewhere/history.db")), "bench")

    assert str(loaded.history.path) == "/somewhere/history.db"
    assert loaded.history.commit_interval == config.Config().history.commit_interval
    assert loaded.server.max_connections_per_client > 1000
    assert (loaded.zones, loaded.meters) == (config.Config().zones, config.Config().meters)


def test_without_a_history_ours_has_none() -> None:
    assert config.loads(configuration(None), "bench").history == config.Config().history


@pytest.mark.parametrize("source", ["wire.h", "peers/libmodbus_server.c"])
def test_the_c_sources_know_the_same_preset_registers(source: str) -> None:
    assert f"{{{', '.join(map(str, PRESET))}}};" in (FOLDER / source).read_text()


def test_the_load_generator_makes_the_samples_that_the_rows_are_compared_with() -> None:
    source = (FOLDER / "wire.h").read_text()

    assert f"{{{', '.join(map(str, PERIODS))}}};" in source
    assert f"first_timestamp = {FIRST_TIMESTAMP}u;" in source


@pytest.mark.parametrize("key", ["wrong", "lost", "closed", "rows_differ"])
def test_a_fault_of_ours_fails_the_benchmark(key: str) -> None:
    record = Record("fc16-10", "ours", 2, {"rate": 1.0, key: 3})

    assert our_faults([record], kinds()) == [f"round 2, fc16-10, smart-meter: {key} 3"]


def test_neither_a_peers_fault_nor_a_low_rate_fails_the_benchmark() -> None:
    records = [
        Record("fc03-10x8", "pymodbus", 1, {"lost": 100, "wrong": 1}),
        Record("fc16-10", "ours", 1, {"rate": 0.1, "lost": 0, "wrong": 0, "rows_differ": 0}),
    ]

    assert our_faults(records, kinds()) == []


def test_a_group_is_written_as_the_load_generator_takes_it() -> None:
    group = Group(16, 10, rate=1234.5, expect="sample")

    assert group.argument(ZONES) == (
        "function=16,connections=10,depth=1,rate=1234.500,expect=sample,to=192.168.1.100,from=192.168.1.50"
    )


def test_readers_of_the_concentrator_come_from_the_control_zone() -> None:
    assert Group(3, 1).argument(ZONES).endswith("to=192.168.2.100,from=192.168.2.10")
    assert Group(3, 1).argument(Ways()).endswith("to=127.0.0.1,from=0.0.0.0")


def test_the_bad_frames_are_the_same_in_every_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = ([path.read_bytes() for path in write_bad_frames(tmp_path / name)] for name in "ab")

    assert first == second
    assert [len(data) for data in first] == [12, 12, 8, 12, 65536]
