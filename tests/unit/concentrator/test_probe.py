"""A client that has announced itself as a probe is answered by its rights, and counts nowhere."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.concentrator import probe
from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.session import Session
from smart_meter.config import Access, AccessRule, Config, JournalConfig, LogFormat, MeterConfig, OnStale
from smart_meter.log.make_formatter import make_formatter
from smart_meter.log.throttle import Suppressed
from smart_meter.modbus.functions import FUNCTIONS, FunctionCode
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from tests.unit.meters.parts import incomplete
from tests.unit.modbus.test_oracle import requests as pdus
from tests.unit.net.house import House
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, sent, wire, write, write_one

ANNOUNCEMENT = adu(1, probe.PDU)
READS = [read(0, 8), read(2, 3), adu(1, wire("04 0000 000d")), adu(1, wire("2b 0e 04 80"))]
WRITES = [
    write(0),
    write(0, SAMPLE_REGISTERS[:3]),
    write(0, ())[:13],
    write_one(0, 1),
    adu(1, wire("06 ffff")),
    adu(1, wire("16 0000 0000 ffff")),
    adu(1, wire("17 0000 0002 0000 0008 10") + write(0)[13:]),
    adu(1, wire("17 ffff 0000 ffff 0000 00")),
]
ONE_REGISTER = RegisterMap((Measurement("P", 0, sentinel=0xFFFF),))


class Trial:
    """A concentrator with a recorder, a journal and a clock to set."""

    backlog = 0

    def __init__(self, *meters: MeterConfig) -> None:
        self.now = 100.0
        self.journal: list[str] = []
        self.rows: list[object] = []
        config = Config(meters=meters) if meters else Config()
        self.concentrator = Concentrator(config, self.journal.append, lambda: self.now, lambda: 0.0)
        self.concentrator.use_sink(self, durable=False)

    def record(self, *row: object) -> int:
        self.rows.append(row)
        return len(self.rows)

    def stored_up_to(self, _: int) -> bool:
        return True

    def client(self, address: str) -> Session:
        session = self.concentrator.admit(address)
        assert session is not None
        return session

    def probe(self, address: str, *requests: bytes) -> list[bytes]:
        """Return what a probe is answered that comes, asks and goes."""
        session = self.client(address)
        replies = [sent(session.respond(request)) for request in (ANNOUNCEMENT, *requests)]
        session.closed()
        return replies[1:]

    def state(self) -> tuple[object, ...]:
        """Return all that somebody could count or see, but for the journal."""
        self.concentrator.tick()
        totals = self.concentrator.statistics
        return (
            {name: value for name, value in vars(totals).items() if name != "peers"},
            {
                name: (peer.received, peer.served, peer.last_received, peer.last_served)
                for name, peer in totals.peers.items()
                if peer.received or peer.served
            },
            [
                (m.sample, m.view, m.samples, m.refused, m.state, m.arrived, incomplete(m))
                for m in self.concentrator.meters
            ],
            list(self.rows),
        )


EVERY_RULE: list[tuple[AccessRule, ...]] = [
    (),
    (AccessRule("field", (), Access.NONE), AccessRule("control", (), Access.NONE)),
    (AccessRule("field", (), Access.WRITE), AccessRule("control", (), Access.READ, frozenset({4}))),
    (AccessRule("field", (), Access.READ_WRITE, frozenset({3, 6})),),
]


@pytest.mark.parametrize("rules", EVERY_RULE)
@pytest.mark.parametrize("address", ["192.168.1.50", "192.168.2.10", "127.0.0.1"])
def test_whatever_a_probe_asks_counts_nowhere_and_changes_nothing(
    address: str, rules: tuple[AccessRule, ...]
) -> None:
    trial = Trial(MeterConfig("pv", 1, PV_MAP, access=rules))
    trial.concentrator.meters[0].store(write(0)[13:], trial.now)
    trial.now += 5
    held = trial.state()
    trial.probe(address, *READS, *WRITES, read(0, 8, unit=9), read(0, 9), adu(1, b"\x55"))
    assert trial.state() == held
    assert [line.partition("]")[0] for line in trial.journal] == ["[PROBE"]


@given(
    address=st.sampled_from(["192.168.1.50", "192.168.2.10", "127.0.0.1"]),
    requests=st.lists(st.builds(lambda pdu: adu(1, bytes((pdu[0],)) + pdu[1]), pdus()), max_size=8),
)
def test_any_request_of_a_probe_is_answered_and_counts_nowhere(address: str, requests: list[bytes]) -> None:
    trial = Trial()
    held = trial.state()
    for request, reply in zip(requests, trial.probe(address, *requests), strict=True):
        assert reply[:4] == request[:4]
        assert reply[7] in (request[7], request[7] | 0x80)
    assert trial.state() == held


@pytest.mark.parametrize("request_", READS)
def test_a_probe_reads_what_any_client_reads(request_: bytes) -> None:
    trial = Trial()
    trial.client("192.168.1.50").respond(write(0))
    assert trial.probe("192.168.2.10", request_) == [trial.client("192.168.2.10").respond(request_)]


@pytest.mark.parametrize("request_", WRITES)
def test_a_write_of_a_probe_gets_exception_03_where_it_may_be_made_and_else_01(request_: bytes) -> None:
    trial = Trial()
    assert trial.probe("192.168.1.50", request_)[0][7:] == bytes((request_[7] | 0x80, 3))
    assert trial.probe("192.168.2.10", request_)[0][7:] == bytes((request_[7] | 0x80, 1))


@pytest.mark.parametrize("function", [6, 16, 22, 23])
def test_a_rule_of_single_function_codes_is_seen_by_a_probe(function: int) -> None:
    trial = Trial(
        MeterConfig(
            "pv", 1, PV_MAP, access=(AccessRule("field", (), Access.READ_WRITE, frozenset({3, function})),)
        )
    )
    replies = trial.probe("192.168.1.50", *WRITES)
    assert {reply[7] & 0x7F for reply in replies if reply[8] == 3} == {function}


@pytest.mark.parametrize("on_stale", OnStale)
def test_a_meter_of_one_register_gets_neither_fresh_nor_another_value(on_stale: OnStale) -> None:
    trial = Trial(MeterConfig("pv", 1, ONE_REGISTER, stale_after=10, on_stale=on_stale))
    trial.client("192.168.1.50").respond(write(0, (7,)))
    trial.now += 20
    trial.concentrator.check()
    held = trial.state()
    trial.probe("192.168.1.50", read(0, 1), write(0, (7,)), write_one(0, 0xFFFF))
    assert trial.state() == held
    assert len(trial.rows) == 1


def test_reads_that_are_known_from_others_do_not_count_for_a_probe_nor_the_other_way_round() -> None:
    trial = Trial()
    opta = trial.client("192.168.2.10")
    opta.respond(read(0, 8))
    trial.probe("192.168.2.10", read(0, 8), read(0, 8))
    assert trial.concentrator.statistics.served == 1
    assert opta.respond(read(0, 8)) == answer(1, (0,) * 8)
    assert trial.concentrator.statistics.served == 2


def test_on_a_connection_all_that_follows_the_announcement_is_a_probes() -> None:
    house = House()
    client = house.client("192.168.1.50")
    assert client.send(read(0, 1)) == answer(1, (0,))
    replies = client.send(ANNOUNCEMENT + read(0, 1), write(0), read(0, 1))
    assert replies == ANNOUNCEMENT + answer(1, (0,)) + wire("0001 0000 0003 01 90 03") + answer(1, (0,))
    statistics = house.concentrator.statistics
    assert (statistics.served, statistics.received, statistics.exceptions) == (1, 0, 0)
    client.leave()
    assert (statistics.connections, statistics.open_connections) == (0, 0)


def test_a_probe_stays_one_over_a_new_configuration_and_has_its_rights() -> None:
    trial = Trial()
    session = trial.client("192.168.1.50")
    session.respond(ANNOUNCEMENT)
    trial.concentrator.reconfigure(
        Config(meters=(MeterConfig("pv", 1, PV_MAP, access=(AccessRule("field", (), Access.READ),)),))
    )
    assert session.readmit()
    assert session.respond(write(0))[7:] == wire("90 01")
    assert [session.respond(read(0, 8)) for _ in range(2)] == [answer(1, (0,) * 8)] * 2
    session.closed()
    statistics = trial.concentrator.statistics
    assert (statistics.served, statistics.refused, statistics.open_connections) == (0, 0, 0)


@pytest.mark.parametrize(
    "request_",
    [
        adu(1, wire("08 0000 a537")),
        adu(1, probe.PDU[:-1]),
        adu(1, probe.PDU + b"\0"),
        adu(1, b"\x08\x00\x01" + probe.ANNOUNCEMENT),
    ],
)
def test_other_query_data_announce_nothing(request_: bytes) -> None:
    trial = Trial()
    session = trial.client("192.168.1.50")
    session.respond(request_)
    session.respond(write(0))
    session.respond(read(0, 8))
    statistics = trial.concentrator.statistics
    assert (statistics.received, statistics.served, statistics.connections) == (1, 1, 1)


@pytest.mark.parametrize(
    ("rules", "unit", "reply"),
    [
        ((), 1, adu(1, probe.PDU)),
        # Understood all the same.
        ((AccessRule("field", (), Access.NONE),), 1, wire("0001 0000 0003 01 88 01")),
        ((), 9, wire("0001 0000 0003 09 88 0b")),
    ],
)
def test_the_announcement_is_answered_as_any_query_data(
    rules: tuple[AccessRule, ...], unit: int, reply: bytes
) -> None:
    trial = Trial(MeterConfig("pv", 1, PV_MAP, access=rules))
    held = trial.state()
    session = trial.client("192.168.1.50")
    assert session.respond(adu(unit, probe.PDU)) == reply
    session.respond(read(0, 1))
    session.respond(write(0))
    session.closed()
    assert trial.state() == held


# The journal


def test_the_journal_says_who_probes_and_what_that_client_may_do() -> None:
    none = MeterConfig("none", 7, PV_MAP, access=(AccessRule("field", (), Access.READ),))
    trial = Trial(MeterConfig("pv", 1, PV_MAP), none)
    for address, unit in (("192.168.1.50", 1), ("192.168.2.10", 1), ("192.168.2.10", 7), ("192.168.2.10", 9)):
        trial.client(address).respond(adu(unit, probe.PDU))
    assert trial.journal == [
        "[PROBE] pv | ESP32 (192.168.1.50) may use function codes 3, 4, 6, 8, 16, 22, 23, 43",
        "[PROBE] pv | OPTA (192.168.2.10) may use function codes 3, 4, 8, 43",
        "[PROBE] none | OPTA (192.168.2.10) may use no function code",
        "[PROBE] OPTA (192.168.2.10) asks for unit 9, which no meter has",
    ]


def test_a_crowd_of_probes_fills_no_journal() -> None:
    trial = Trial()
    for number in range(200):
        trial.client("192.168.2.10").respond(adu(1 + number % 5, probe.PDU))
    trial.now += 10
    for number in (11, 10):
        trial.client(f"192.168.2.{number}").respond(ANNOUNCEMENT)
    assert len(trial.journal) == 4
    assert trial.journal[-2].endswith("43")
    assert trial.journal[-1].endswith("43 (and 39 more since the last such line)")


def test_as_json_a_probe_is_an_event_of_its_own() -> None:
    formatter: Any = make_formatter(Config(journal=JournalConfig(LogFormat.JSON)), lambda: 0.0)
    record = json.loads(
        formatter.probe("OPTA", "192.168.2.10", "pv", unit=1, functions=(3, 4), suppressed=Suppressed(2))
    )
    assert {key: record[key] for key in record if key != "time"} == {
        "event": "probe",
        "peer": "OPTA",
        "client": "192.168.2.10",
        "meter": "pv",
        "unit": 1,
        "functions": [3, 4],
        "suppressed": 2,
        "suppressed_others": 0,
    }


def test_the_announcement_has_whole_registers_and_fits_into_a_request() -> None:
    assert len(probe.ANNOUNCEMENT) % 2 == 0
    assert probe.PDU[:3] == bytes((FunctionCode.DIAGNOSTICS, 0, 0))
    assert FUNCTIONS[FunctionCode.DIAGNOSTICS].reads is FUNCTIONS[FunctionCode.DIAGNOSTICS].writes is None
