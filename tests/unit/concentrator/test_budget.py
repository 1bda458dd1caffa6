"""Samples above an address's budget: readers get them and the history does not, or the write is refused."""

import struct
from pathlib import Path

import pytest

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.session import Session
from smart_meter.concentrator.sink import client_number
from smart_meter.config import Config, HistoryConfig, MeterConfig
from smart_meter.modbus.connection_state import Held
from smart_meter.registers.register_map import PV_MAP
from smart_meter.runtime.recording import Recording
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, sent, wire, write, write_one

ESP32, OTHER = "192.168.1.50", "192.168.1.51"
BURST = 60
BUSY = "0001 0000 0003 01 {:02x} 06"


def sample(number: int) -> tuple[int, ...]:
    return (number, *SAMPLE_REGISTERS[1:])


class Trial:
    """A concentrator with a sink, and a clock to set."""

    backlog = 0

    def __init__(self, *, durable: bool = False, rate: float = 1) -> None:
        self.now = 100.0
        self.journal: list[str] = []
        self.rows: list[tuple[object, ...]] = []
        self.config = Config(
            meters=(MeterConfig("pv", 1, PV_MAP, sample_starts_at=0),),
            history=HistoryConfig(path="/h.db", max_samples_per_second=rate),
        )
        self.concentrator = Concentrator(self.config, self.journal.append, lambda: self.now, lambda: 0.0)
        self.concentrator.use_sink(self, durable=durable)

    def record(self, *row: object) -> int:
        self.rows.append(row)
        return len(self.rows)

    def stored_up_to(self, _: int) -> bool:
        return True

    def client(self, address: str) -> Session:
        session = self.concentrator.admit(address)
        assert session is not None
        return session

    def second(self) -> None:
        self.now += 1
        self.concentrator.tick()

    @property
    def thinned(self) -> tuple[int, int]:
        return self.concentrator.meters[0].thinned, self.concentrator.statistics.thinned


def test_readers_get_every_sample_and_the_history_those_within_the_budget() -> None:
    trial = Trial()
    esp32, opta = trial.client(ESP32), trial.client("192.168.2.10")
    for number in range(BURST + 10):
        assert isinstance(esp32.respond(write(0, sample(number))), bytes)
    assert sent(opta.respond(read(0, 8))) == answer(1, sample(BURST + 9))
    assert len(trial.rows) == BURST
    assert trial.thinned == (10, 10)
    assert trial.concentrator.statistics.received == BURST + 10
    trial.second()
    for _ in range(3):
        esp32.respond(write(0))
    assert (len(trial.rows), trial.thinned) == (BURST + 1, (12, 12))


def test_a_line_names_who_is_over_the_budget_once_in_a_while() -> None:
    trial = Trial()
    esp32 = trial.client(ESP32)
    for _ in range(BURST + 10):
        esp32.respond(write(0))
    trial.now += 11
    esp32.respond(write(0))
    lines = [line for line in trial.journal if "[THINNED]" in line]
    text = (
        "[THINNED] pv: ESP32 (192.168.1.50) sends more than max_samples_per_second (1): readers get the "
        "sample, the history not"
    )
    assert [line[line.index("[THINNED]") :] for line in lines] == [
        text,
        f"{text} (and 9 more since the last such line)",
    ]


def test_a_flood_leaves_a_neighbours_budget_alone() -> None:
    trial = Trial()
    esp32, other = trial.client(ESP32), trial.client(OTHER)
    for _ in range(5 * BURST):
        other.respond(write(0))
    for _ in range(10):
        esp32.respond(write(0))
    assert [row[5] for row in trial.rows].count(client_number(ESP32)) == 10


def test_connections_of_one_address_share_its_budget() -> None:
    trial = Trial()
    for _ in range(3):
        session = trial.client(ESP32)
        for _ in range(BURST):
            session.respond(write(0))
    assert len(trial.rows) == BURST


def test_the_writer_of_the_time_before_the_start_keeps_its_budget() -> None:
    trial = Trial()
    trial.concentrator.expect_writer("pv", client_number(ESP32))
    for number in range(100, 110):
        trial.client(f"192.168.1.{number}").respond(write(0))
    stored = len(trial.rows)
    for _ in range(BURST):
        trial.client(ESP32).respond(write(0))
    assert len(trial.rows) == stored + BURST


def test_there_is_no_budget_without_a_limit_or_without_a_history() -> None:
    trial = Trial(rate=0)
    for _ in range(1000):
        trial.client(ESP32).respond(write(0))
    assert (len(trial.rows), trial.thinned) == (1000, (0, 0))
    trial = Trial()
    trial.concentrator.use_sink(None, durable=False)
    for _ in range(1000):
        trial.client(ESP32).respond(write(0))
    assert trial.thinned == (0, 0)


def test_a_budget_outlives_a_reload() -> None:
    trial = Trial()
    esp32 = trial.client(ESP32)
    for _ in range(BURST + 1):
        esp32.respond(write(0))
    trial.concentrator.reconfigure(trial.config)
    esp32.readmit()
    esp32.respond(write(0))
    assert (len(trial.rows), trial.thinned) == (BURST, (2, 1 + 1))


FC22 = adu(1, struct.pack(">BHHH", 22, 7, 0, 7))
FC23 = adu(1, struct.pack(">BHHHHB8H", 23, 0, 1, 0, 8, 16, *sample(9)))


@pytest.mark.parametrize(
    ("begin", "complete"),
    [
        ([], write(0, sample(9))),
        ([], FC23),
        ([write(0, SAMPLE_REGISTERS[:7])], write_one(7, 9)),
        ([write(0, SAMPLE_REGISTERS[:7])], FC22),
        ([write(0, SAMPLE_REGISTERS[:4])], write(4, SAMPLE_REGISTERS[4:])),
    ],
)
def test_with_durable_writes_one_that_completes_a_sample_gets_06_and_changes_nothing(
    begin: list[bytes], complete: bytes
) -> None:
    trial = Trial(durable=True)
    esp32, opta = trial.client(ESP32), trial.client("192.168.2.10")
    for _ in range(BURST):
        assert isinstance(esp32.respond(write(0, sample(1))), Held)
    for request in begin:
        # A write that completes nothing stores nothing.
        assert sent(esp32.respond(request))[7] < 0x80
    [meter] = trial.concentrator.meters
    before = sent(opta.respond(read(0, 8))), meter.samples, meter.arrived, meter.version
    trial.now += 1
    assert sent(esp32.respond(complete)) == wire(BUSY.format(complete[7] | 0x80))
    assert (sent(opta.respond(read(0, 8))), meter.samples, meter.arrived, meter.version) == before
    assert len(trial.rows) == BURST
    assert (meter.refused, meter.thinned) == (1, 0)
    [line] = [line for line in trial.journal if "[REFUSED]" in line]
    assert f"with function {complete[7]}: exception 06, it sends more than max_samples_per_second (1)" in line
    trial.concentrator.tick()
    assert isinstance(esp32.respond(complete), Held)


def test_after_a_reload_to_a_commit_interval_no_write_is_refused() -> None:
    trial = Trial(durable=True)
    esp32 = trial.client(ESP32)
    for _ in range(BURST + 1):
        esp32.respond(write(0))
    trial.concentrator.use_sink(trial, durable=False)
    assert sent(esp32.respond(write(0)))[7] == 16
    assert trial.thinned == (1, 1)


def test_reads_take_no_budget() -> None:
    trial = Trial(durable=True)
    for number in range(1, 20):
        trial.client(f"192.168.1.{number}").respond(read(0, 8))
    esp32 = trial.client(ESP32)
    for _ in range(BURST):
        assert isinstance(esp32.respond(write(0)), Held)


def test_the_client_of_the_last_row_is_expected_after_a_start(tmp_path: Path) -> None:
    config = Config(history=HistoryConfig(path=str(tmp_path / "h.db"), max_samples_per_second=1))
    stored = []
    for crowd in (0, 10):
        concentrator = Concentrator(config, lambda _: None, lambda: 100.0, lambda: 1.7e9)
        recording = Recording(concentrator, print, lambda: None)
        recording.start(config)
        for address in [*(f"192.168.1.{number}" for number in range(100, 100 + crowd)), ESP32]:
            session = concentrator.admit(address)
            assert session is not None
            for _ in range(BURST):
                session.respond(write(0))
        recording.stop(10.0)
        recording.count(concentrator.statistics)
        stored.append(concentrator.statistics.stored)
    # Three of the crowd have a budget each, and the rest share one.
    assert stored == [BURST, 5 * BURST]
