"""What is counted, logged and noted in the audit trail of requests that change nothing, and of what does."""

from typing import Any

import pytest

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.session import Session
from smart_meter.config import (
    Access,
    AccessRule,
    Complete,
    Config,
    HistoryConfig,
    JournalConfig,
    MeterConfig,
    OnStale,
    OutOfRange,
    Publish,
    Writers,
)
from smart_meter.log.audit.kinds import Kind
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from tests.unit.wire import SAMPLE_REGISTERS, adu, read, sent, wire, write, write_one

ESP32, OTHER, OPTA = "192.168.1.50", "192.168.1.51", "192.168.2.10"
LIMITED = RegisterMap((Measurement("P", 0, maximum=300), *PV_MAP.measurements[1:]))
TWO_METERS = (MeterConfig("east", 1, PV_MAP), MeterConfig("west", 7, PV_MAP))


class Trial:
    """A concentrator with an audit trail that records, and a clock to set."""

    backlog = 0

    def __init__(self, *meters: MeterConfig, rate: float = 0) -> None:
        self.now = 100.0
        self.journal: list[str] = []
        self.noted: list[tuple[Kind, str, str, str, str]] = []
        config = Config(
            meters=meters or (MeterConfig("pv", 1, PV_MAP, sample_starts_at=0),),
            journal=JournalConfig(lines_per_second=0),
            history=HistoryConfig(path="/h.db", max_samples_per_second=rate),
        )
        self.concentrator = Concentrator(config, self.journal.append, lambda: self.now, lambda: 0.0)
        self.concentrator.use_events(self)

    def note(self, kind: Kind, text: str, *, client: str = "", meter: str = "", detail: str = "") -> None:
        self.noted.append((kind, text, client, meter, detail))

    def record(self, *_: object) -> int:
        return 1

    def stored_up_to(self, _: int) -> bool:
        return True

    def client(self, address: str = ESP32) -> Session:
        session = self.concentrator.admit(address)
        assert session is not None
        return session

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.concentrator.tick()

    def counted(self) -> tuple[int, int, int]:
        """Return the refused writes of all meters, of the peer ESP32, and of the concentrator."""
        totals = self.concentrator.statistics
        return sum(m.refused for m in self.concentrator.meters), totals.peer("ESP32").refused, totals.refused


def meter(**changes: Any) -> MeterConfig:
    return MeterConfig("pv", 1, PV_MAP, sample_starts_at=0)._replace(**changes)


def fc23(read_from: int, quantity: int, write_to: int, registers: tuple[int, ...]) -> bytes:
    return adu(1, wire(f"17 {read_from:04x} {quantity:04x}") + write(write_to, registers)[8:])


READ_ONLY = {"access": (AccessRule("field", (), Access.READ), AccessRule("control", (), Access.READ_WRITE))}
REFUSED: dict[str, tuple[dict[str, Any], bytes, str, str]] = {
    "05": (
        {},
        adu(1, wire("05 0003 ff00")),
        "wrote coil 3 of unit 1 with function 5: exception 01",
        "not supp",
    ),
    "15": (
        {},
        adu(1, wire("0f 0002 0003 01 07")),
        "wrote coils 2-4 of unit 1 with function 15: exception 01",
        "the function is not supported",
    ),
    "access": (
        READ_ONLY,
        write(0),
        "wrote registers 0-7 of unit 1 with function 16: exception 01",
        "only read",
    ),
    "06, 02": (
        {},
        write_one(8, 1),
        "wrote register 8 of unit 1 with function 6: exception 02",
        "registers 0-7",
    ),
    "16, 02": ({}, write(1), "wrote registers 1-8 of unit 1 with function 16: exception 02", "registers 0-7"),
    "22, 02": (
        {},
        adu(1, wire("16 0009 0000 0001")),
        "wrote register 9 of unit 1 with function 22: exception 02",
        "the map has registers 0-7",
    ),
    "23, 02": (
        {},
        fc23(0, 1, 7, (1, 2)),
        "wrote registers 7-8 of unit 1 with function 23: exception 02",
        "the map has registers 0-7",
    ),
    "16, length": (
        {},
        write(0)[:-1],
        "wrote registers 0-7 of unit 1 with function 16: exception 03",
        "its length or its quantity is not valid",
    ),
    "16, nothing": (
        {},
        adu(1, wire("10 00")),
        "sent an incomplete write to unit 1 with function 16: exception 03",
        "its length or its quantity is not valid",
    ),
    "16, 0 registers": (
        {},
        adu(1, wire("10 0000 0000 00")),
        "wrote 0 registers of unit 1 with function 16: exception 03",
        "its length or its quantity is not valid",
    ),
    "range": (
        {"map": LIMITED, "out_of_range": OutOfRange.REFUSE},
        write_one(0, 301),
        "wrote register 0 of unit 1 with function 6: exception 03",
        "P=301.0 is out of range",
    ),
    "23, stale": (
        {"on_stale": OnStale.EXCEPTION, "stale_after": 5},
        fc23(0, 8, 0, (1, 2)),
        "wrote registers 0-1 of unit 1 with function 23: exception 0B",
        "the meter has no fresh values to be read",
    ),
}


@pytest.mark.parametrize(("changes", "request_", "text", "reason"), REFUSED.values(), ids=REFUSED)
def test_each_refused_write_is_counted_logged_and_noted(
    changes: dict[str, Any], request_: bytes, text: str, reason: str
) -> None:
    trial = Trial(meter(**changes))
    assert sent(trial.client().respond(request_))[7:] == bytes((request_[7] | 0x80, int(text[-2:], 16)))
    assert trial.counted() == (1, 1, 1)
    assert trial.concentrator.statistics.peer("ESP32").last_refused == trial.now
    [line] = trial.journal
    assert line.startswith(f"[REFUSED] ESP32 ({ESP32}) {text}, ")
    assert reason in line
    [(kind, noted, client, name, detail)] = trial.noted
    assert (kind, noted, client, name) == (Kind.REFUSED, text, ESP32, "pv")
    assert f"{text}, {detail}" in line


def test_a_write_of_a_second_writer_is_a_refused_write() -> None:
    trial = Trial(meter(writers=Writers.ONE))
    trial.client().respond(write(0))
    assert sent(trial.client(OTHER).respond(write(0)))[7:] == wire("90 06")
    assert trial.counted() == (1, 1, 1)
    assert trial.noted[-1][0] is Kind.REFUSED


def test_a_write_whose_sample_could_not_be_stored_is_not_refused() -> None:
    trial = Trial()
    trial.client().store_failed()
    assert (trial.counted(), trial.concentrator.statistics.exceptions) == ((0, 0, 0), 1)
    assert (trial.journal, trial.noted) == ([], [])


def test_a_write_to_a_unit_that_no_meter_has_is_logged_with_the_unit() -> None:
    trial = Trial(*TWO_METERS)
    assert sent(trial.client().respond(write(0, unit=255)))[7:] == wire("90 0b")
    text = "wrote registers 0-7 of unit 255 with function 16: exception 0B"
    assert trial.journal == [f"[REFUSED] ESP32 ({ESP32}) {text}, no meter has this unit"]
    assert trial.noted == [(Kind.REFUSED, text, ESP32, "", "no meter has this unit")]
    assert trial.counted() == (0, 1, 1)
    assert trial.concentrator.shared.unknown_units == 1


def test_a_read_that_fails_has_a_line_only_if_the_unit_is_unknown() -> None:
    trial = Trial(*TWO_METERS)
    opta = trial.client(OPTA)
    for request in (
        read(0, 9),
        read(0, 0),
        adu(1, b"\x55"),
        read(0, 8, unit=9),
        adu(9, wire("08 0000 0001")),
    ):
        assert sent(opta.respond(request))[7] & 0x80
    text = "read registers 0-7 of unit 9 with function 3: exception 0B, no meter has this unit"
    assert trial.journal == [f"[REFUSED] OPTA ({OPTA}) {text}"]
    trial.wait(10)
    opta.respond(adu(9, wire("2b 0e 01 00")))
    assert trial.journal[-1] == (
        f"[REFUSED] OPTA ({OPTA}) addressed unit 9 with function 43: exception 0B, no meter has this unit "
        "(and 1 more since the last such line)"
    )
    totals = trial.concentrator.statistics
    assert (totals.refused, totals.exceptions, totals.peer("OPTA").refused) == (0, 6, 0)
    assert trial.concentrator.shared.unknown_units == 3


def test_five_refused_writes_by_one_address_and_five_by_another_are_never_ten_by_the_first() -> None:
    trial = Trial()
    clients = [trial.client(ESP32), trial.client(OTHER)]
    for _ in range(5):
        for client in clients:
            client.respond(write(1))
    trial.now += 10
    for client in clients:
        client.respond(write(1))
    lines = [line.partition(")")[0].partition("(")[2] for line in trial.journal]
    assert lines == [ESP32, OTHER, ESP32, OTHER]
    assert all("(and 4 more since the last such line)" in line for line in trial.journal[2:])
    assert trial.counted() == (12, 12, 12)


def test_each_refused_write_is_noted_however_few_lines_there_are() -> None:
    trial = Trial()
    client = trial.client()
    for _ in range(1000):
        client.respond(write(1))
    assert (len(trial.journal), len(trial.noted)) == (1, 1000)


def test_a_crowd_of_addresses_has_few_lines_and_none_is_forgotten() -> None:
    trial = Trial()
    for number in range(1000):
        trial.client(f"192.168.1.{number % 250 + 3}").respond(write(1))
    assert len(trial.journal) == 20
    for number in range(1000):
        trial.concentrator.admit(f"10.0.{number // 250}.{number % 250}")
    trial.now += 100
    trial.concentrator.admit("10.9.9.9")
    [line] = [line for line in trial.journal if "10.9.9.9" in line]
    assert line.endswith("more by other addresses)")


def test_lines_about_closed_connections_are_limited_for_each_address() -> None:
    trial = Trial()
    clients = [trial.client(ESP32), trial.client(OTHER)]
    for _ in range(5):
        for client in clients:
            client.bad_frame("why")
            client.timed_out("why")
            client.evicted()
    assert len(trial.journal) == 6
    assert trial.noted == []


# What else the audit trail gets


def test_an_incomplete_sample_is_noted_with_its_registers() -> None:
    trial = Trial(meter(publish=Publish.IMMEDIATE))
    trial.client().respond(write_one(0, 4242))
    trial.wait(3)
    text = "wrote registers 0 and not 1-7 within 2 s"
    assert trial.noted == [(Kind.PARTIAL, text, ESP32, "pv", "readers saw the registers")]
    assert trial.concentrator.meters[0].partial_writes == 1


def test_values_before_the_first_sample_are_noted_where_each_write_is_a_sample() -> None:
    trial = Trial(meter(publish=Publish.IMMEDIATE, complete=Complete.ANY, sample_starts_at=None))
    for register in range(3):
        trial.client().respond(write_one(register, 7))
    trial.wait(3)
    text = "readers got values before every value came once"
    assert trial.noted == [(Kind.PARTIAL, text, "", "pv", "3 writes since the start")]
    assert trial.journal == [f"[INCOMPLETE] {text} (3 writes)"]
    trial.client().respond(write(0))
    trial.client().respond(write_one(0, 8))
    trial.wait(3)
    assert [kind for kind, *_ in trial.noted] == [Kind.PARTIAL, Kind.WRITER]


def test_writers_are_noted() -> None:
    trial = Trial(meter(stale_after=0))
    first, second = trial.client(), trial.client(OTHER)
    first.respond(write(0))
    trial.wait(100)
    second.respond(write(0))
    trial.wait(1)
    first.respond(write(0))
    assert trial.noted == [
        (Kind.WRITER, "writes it now", ESP32, "pv", ""),
        (Kind.WRITER, "writes it now", OTHER, "pv", f"before it ESP32 ({ESP32})"),
        (Kind.WRITER, "writes it now", ESP32, "pv", f"before it ESP32 ({OTHER})"),
    ]
    trial.wait(1)
    second.respond(write(0))
    assert trial.noted[-1] == (Kind.TWO_WRITERS, f"writes it while ESP32 ({ESP32}) does", OTHER, "pv", "")


def test_fresh_and_stale_are_noted_also_before_the_first_sample() -> None:
    trial = Trial(meter(stale_after=5))
    client = trial.client()
    for _ in range(3):
        client.respond(write(0, SAMPLE_REGISTERS[:6]))
        trial.wait(2)
    client.respond(write(0))
    trial.wait(5)
    client.respond(write(0))
    noted = [note for note in trial.noted if note[0] in (Kind.FRESH, Kind.STALE)]
    missing = f"ESP32 ({ESP32}) writes registers 0-5, and 6-7 are missing"
    assert noted == [
        (Kind.STALE, "no sample yet", "", "pv", missing),
        (Kind.STALE, "no sample for 5 s", "", "pv", ""),
        (Kind.FRESH, "samples come again", ESP32, "pv", ""),
    ]
    assert f"[STALE] pv: no sample yet; {missing}" in trial.journal


def test_what_is_left_out_of_the_history_is_noted_once_a_second() -> None:
    trial = Trial(rate=1)
    trial.concentrator.use_sink(trial, durable=False)
    client = trial.client()
    for total in (100, 300):
        for _ in range(total - trial.concentrator.statistics.received):
            client.respond(write(0))
        trial.concentrator.tick()
        trial.concentrator.tick()
    thinned = [note for note in trial.noted if note[0] is Kind.THINNED]
    text = "sends more than max_samples_per_second (1), the rest is not in the history"
    assert thinned == [
        (Kind.THINNED, text, ESP32, "pv", "40 samples since the start"),
        (Kind.THINNED, text, ESP32, "pv", "240 samples since the start"),
    ]


def test_without_an_audit_trail_nothing_is_noted() -> None:
    trial = Trial()
    trial.concentrator.use_events(None)
    trial.client().respond(write(1))
    trial.client().respond(write(0))
    trial.wait(1)
    assert trial.noted == []


def test_a_sample_and_a_cached_read_note_nothing() -> None:
    trial = Trial()
    client, opta = trial.client(), trial.client(OPTA)
    client.respond(write(0))
    opta.respond(read(0, 8))
    noted = len(trial.noted)
    for _ in range(10):
        client.respond(write(0))
        assert opta.cached_reply(read(0, 8)) is not None
    trial.wait(2)
    assert len(trial.noted) == noted
