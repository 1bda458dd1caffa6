"""What connects history and concentrator: which values a meter restores from the history, and when."""

import threading
import time
from pathlib import Path

import pytest

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.session import Session
from smart_meter.config import Config, HistoryConfig
from smart_meter.modbus.connection_state import Held
from smart_meter.registers import status_block
from smart_meter.registers.register_map import RegisterMap
from smart_meter.registers.status_block import State
from smart_meter.runtime.recording import Recording
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, sent, wire, write

OTHER = tuple(register + 1 for register in SAMPLE_REGISTERS)
TIMEOUT = 10.0


class Run:
    """A concentrator with its recording, as one run of the service has them."""

    def __init__(self, config: Config) -> None:
        self.lines: list[str] = []
        self.committed = threading.Event()
        self.concentrator = Concentrator(config, self.lines.append, lambda: 100.0, lambda: 1.7e9)
        self.recording = Recording(self.concentrator, self.lines.append, self.committed.set)
        self.recording.start(config)

    @property
    def client(self) -> Session:
        session = self.concentrator.admit("192.168.1.50")
        assert session is not None
        return session

    def registers(self) -> bytes:
        return sent(self.client.respond(read(0, 8)))

    def status(self) -> status_block.Status:
        return status_block.decode(sent(self.client.respond(adu(1, wire("04 0000 001a"))))[9:])

    def sequence(self) -> int:
        return self.status().sequence

    def tick(self) -> None:
        self.recording.count(self.concentrator.statistics)

    def end(self) -> None:
        self.recording.stop(TIMEOUT)


@pytest.fixture
def recorded(tmp_path: Path) -> Config:
    """A configuration whose history contains samples."""
    config = Config(history=HistoryConfig(path=str(tmp_path / "history.db")))
    earlier = Run(config)
    for _ in range(3):
        earlier.client.respond(write(0))
    earlier.end()
    return config


def test_without_a_path_nothing_is_recorded() -> None:
    run = Run(Config())
    assert isinstance(run.client.respond(write(0)), bytes)
    assert run.recording.state() is None
    run.recording.count(run.concentrator.statistics)
    run.end()
    assert run.concentrator.statistics.stored == 0


def test_a_start_restores_the_last_values_and_the_sequence_number(recorded: Config) -> None:
    run = Run(recorded)
    assert run.concentrator.meters[0].state is State.RESTORED
    assert run.registers() == answer(1, SAMPLE_REGISTERS)
    assert run.sequence() == 3
    run.client.respond(write(0, OTHER))
    assert run.sequence() == 4
    run.end()


def rescaled(config: Config) -> Config:
    [pv] = config.meters
    first, *others = pv.map.measurements
    changed = pv._replace(map=RegisterMap((first._replace(scale=2), *others)))
    return config._replace(meters=(changed,))


def test_a_restart_after_a_change_of_map_does_not_set_the_sequence_number_back(recorded: Config) -> None:
    numbers = []
    for config in (recorded, rescaled(recorded), recorded):
        run = Run(config)
        numbers.append(run.sequence())
        run.client.respond(write(0))
        numbers.append(run.sequence())
        run.end()
    assert numbers == [3, 4, 4, 5, 5, 6]


def test_a_history_that_a_reload_switches_on_raises_the_sequence_number(recorded: Config) -> None:
    run = Run(Config())
    run.client.respond(write(0))
    run.recording.reconfigure(recorded)
    assert run.sequence() == 3
    run.client.respond(write(0))
    assert run.sequence() == 4
    run.end()


def test_a_meter_that_a_reload_brings_back_does_not_repeat_its_numbers(recorded: Config) -> None:
    run = Run(recorded)
    run.client.respond(write(0))
    run.tick()
    other = recorded._replace(meters=(recorded.meters[0]._replace(name="other"),))
    before = run.sequence()
    for config in (other, recorded):
        run.concentrator.reconfigure(config)
        run.recording.reconfigure(config)
    assert run.sequence() > before
    run.end()


def test_a_history_that_a_reload_switches_on_never_overwrites_newer_values(recorded: Config) -> None:
    run = Run(Config())
    run.client.respond(write(0, OTHER))
    run.recording.reconfigure(recorded)
    assert run.registers() == answer(1, OTHER)
    assert run.concentrator.meters[0].state is State.FRESH
    run.client.respond(write(0, OTHER))
    run.end()
    run.recording.count(run.concentrator.statistics)
    assert (run.concentrator.statistics.stored, run.concentrator.statistics.not_stored) == (1, 0)


def test_the_status_block_shows_the_generation_of_the_history(recorded: Config, tmp_path: Path) -> None:
    generations = set()
    for config in (recorded, recorded, Config(history=HistoryConfig(path=str(tmp_path / "other.db")))):
        run = Run(config)
        run.client.respond(write(0))
        deadline = time.monotonic() + TIMEOUT
        while not run.status().generation and time.monotonic() < deadline:
            run.tick()
            time.sleep(0.01)
        generations.add(run.status().generation)
        run.recording.reconfigure(Config())
        assert run.status().generation == 0
        run.end()
    assert len(generations) == 2
    assert 0 not in generations


def test_a_history_that_a_reload_switches_off_takes_no_more_samples(recorded: Config) -> None:
    run = Run(recorded)
    run.client.respond(write(0, OTHER))
    run.recording.reconfigure(Config())
    run.client.respond(write(0))
    run.end()
    assert run.recording.state() == {"stored": 1, "lost": 0, "failing": False}


def test_a_reload_to_commit_interval_0_makes_writes_durable(recorded: Config) -> None:
    durable = recorded._replace(history=recorded.history._replace(commit_interval=0))
    run = Run(recorded)
    assert isinstance(run.client.respond(write(0)), bytes)
    run.recording.reconfigure(durable)
    held = run.client.respond(write(0))
    assert isinstance(held, Held)
    run.end()
    assert run.committed.is_set()
    assert run.client.commit_status(held.ticket) is True
