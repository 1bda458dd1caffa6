"""What the journal shows of samples that are written in parts, and of a second writer."""

from typing import Any

import pytest

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.session import Session
from smart_meter.config import Complete, Config, JournalConfig, MeterConfig, Publish, Writers
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from smart_meter.registers.status_block import State
from tests.unit.wire import SAMPLE_REGISTERS, answer, read, sent, wire, write, write_one


class Trial:
    """A concentrator whose journal has no lines of samples and reads, and a clock to set."""

    def __init__(self, **changes: Any) -> None:
        self.now = 100.0
        self.journal: list[str] = []
        self.concentrator = Concentrator(
            self.config(**changes), self.journal.append, lambda: self.now, lambda: 1.7e9
        )

    @staticmethod
    def config(**changes: Any) -> Config:
        changes = {"publish": Publish.COMPLETE, "sample_starts_at": 0, **changes}
        meter = MeterConfig("pv", 1, PV_MAP)._replace(**changes)
        return Config(meters=(meter,), journal=JournalConfig(lines_per_second=0))

    def client(self, address: str = "192.168.1.50") -> Session:
        session = self.concentrator.admit(address)
        assert session is not None
        return session

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.concentrator.tick()


def test_a_sample_that_nobody_completes_is_logged_within_a_second_of_sample_gap() -> None:
    trial = Trial()
    trial.client().respond(write(0, SAMPLE_REGISTERS[:6]))
    trial.wait(2)
    assert trial.journal == [
        "[INCOMPLETE] ESP32 (192.168.1.50) wrote registers 0-5 and not 6-7 within 2 s: no sample"
    ]
    assert trial.concentrator.meters[0].incomplete_samples == 1


def test_each_address_has_a_line_of_its_own_and_the_rest_is_counted() -> None:
    trial = Trial()
    clients = [trial.client(f"192.168.1.{number}") for number in (50, 51)]
    for _ in range(5):
        for client in clients:
            client.respond(write_one(0, 1))
        trial.wait(3)
    lines = [line for line in trial.journal if line.startswith("[INCOMPLETE]")]
    assert [line.partition(")")[0].rpartition("(")[2] for line in lines] == [
        "192.168.1.50",
        "192.168.1.51",
        "192.168.1.50",
        "192.168.1.51",
    ]
    assert all(line.endswith("(and 3 more since the last such line)") for line in lines[2:])


def test_a_meter_that_gets_six_of_eight_registers_is_stale_with_the_missing_ones() -> None:
    trial = Trial(stale_after=5)
    for _ in range(3):
        trial.client().respond(write(0, SAMPLE_REGISTERS[:6]))
        trial.wait(3)
    assert (
        "[STALE] pv: no sample yet; ESP32 (192.168.1.50) writes registers 0-5, and 6-7 are missing"
        in trial.journal
    )
    assert trial.concentrator.meters[0].state is State.WAITING


def test_a_connection_that_ends_lets_the_next_one_of_its_address_go_on() -> None:
    trial = Trial()
    first = trial.client()
    first.respond(write(0, SAMPLE_REGISTERS[:4]))
    first.closed()
    trial.client().respond(write(4, SAMPLE_REGISTERS[4:]))
    assert trial.client("192.168.2.10").respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)


def test_the_second_of_two_writers_is_refused_while_the_first_is_fresh() -> None:
    trial = Trial(writers=Writers.ONE, stale_after=10)
    first, second = trial.client(), trial.client("192.168.1.51")
    first.respond(write(0))
    assert sent(second.respond(write(0, (9,) * 8)))[7:] == wire("90 06")
    assert sent(second.respond(write_one(0, 9)))[7:] == wire("86 06")
    assert trial.journal == [
        "[WRITER] pv: ESP32 (192.168.1.50) writes it",
        "[REFUSED] ESP32 (192.168.1.51) wrote registers 0-7 of unit 1 with function 16: exception 06, "
        '192.168.1.50 writes it, and writers is "one"',
    ]
    meter = trial.concentrator.meters[0]
    assert (meter.refused, trial.concentrator.statistics.refused, meter.samples) == (2, 2, 1)
    assert sent(trial.client().respond(write(0)))[7] == 0x10
    trial.wait(10)
    assert sent(second.respond(write(0)))[7] == 0x10


def test_two_writers_are_named_once() -> None:
    trial = Trial()
    first, second = trial.client(), trial.client("192.168.1.51")
    for _ in range(20):
        first.respond(write(0))
        second.respond(write(0))
        trial.wait(1)
    assert [line for line in trial.journal if "WRITER" in line] == [
        "[WRITER] pv: ESP32 (192.168.1.50) writes it",
        "[WRITER] pv: ESP32 (192.168.1.51) writes it now, before it ESP32 (192.168.1.50)",
        "[TWO WRITERS] pv: ESP32 (192.168.1.51) and ESP32 (192.168.1.50) both write it; "
        'writers = "one" would refuse the second',
    ]
    assert trial.concentrator.meters[0].writer_changes == 39


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"sample_starts_at": None, "sample_gap": 5}, "[ASSUMED]"), ({"sample_gap": 0.5}, "[SLOW]")],
)
def test_an_even_writer_and_a_slow_one_are_named(changes: dict[str, Any], kind: str) -> None:
    trial = Trial(**changes)
    client = trial.client()
    for cycle in range(5):
        for register in range(8):
            client.respond(write_one(register, cycle))
            trial.wait(1)
    assert [line for line in trial.journal if line.startswith(kind)]


# A new configuration


def test_a_measurement_that_a_reload_adds_is_not_served_as_fresh() -> None:
    trial = Trial()
    trial.client().respond(write(0))
    longer = RegisterMap((*PV_MAP.measurements, Measurement("new", 8)))
    trial.concentrator.reconfigure(trial.config(map=longer))
    opta = trial.client("192.168.2.10")
    assert opta.respond(read(0, 9)) == answer(1, (*SAMPLE_REGISTERS, 0))
    meter = trial.concentrator.meters[0]
    assert (meter.state, meter.age(trial.now)) == (State.WAITING, None)
    assert trial.journal[-1] == "[WAITING] pv: its register map changed, so it waits for a sample"
    trial.client().respond(write(0, (*SAMPLE_REGISTERS, 5)))
    assert meter.state is State.FRESH


def test_an_incomplete_sample_that_a_reload_drops_is_logged() -> None:
    trial = Trial()
    trial.client().respond(write(0, SAMPLE_REGISTERS[:4]))
    trial.concentrator.reconfigure(trial.config(complete=Complete.ANY))
    [line] = trial.journal
    assert line.endswith("not 4-7: another configuration was loaded: no sample")


def test_an_ipv4_address_in_an_ipv6_one_is_the_same_writer() -> None:
    trial = Trial()
    first = trial.client("::ffff:192.168.1.50")
    first.respond(write(0, SAMPLE_REGISTERS[:4]))
    first.closed()
    again = trial.client("192.168.1.50")
    again.respond(write(4, SAMPLE_REGISTERS[4:]))
    assert trial.concentrator.meters[0].samples == 1
    last = trial.client("::ffff:192.168.1.50")
    last.respond(write(0))
    assert trial.journal == ["[WRITER] pv: ESP32 (192.168.1.50) writes it"]
    assert trial.concentrator.meters[0].writer_changes == 0
