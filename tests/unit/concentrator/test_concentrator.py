import struct
from collections import Counter
from ipaddress import IPv4Network
from typing import Any

import pytest

from smart_meter import __version__
from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.dispatcher import BUSY_BACKLOG, FULL_BACKLOG
from smart_meter.concentrator.session import Session
from smart_meter.concentrator.sink import client_number
from smart_meter.config import (
    FIELD_ZONE,
    Access,
    AccessRule,
    Config,
    JournalConfig,
    MeterConfig,
    OnStale,
    OutOfRange,
)
from smart_meter.modbus.connection_state import Held
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, sent, wire, write, write_one

TWO_METERS = Config(meters=(MeterConfig("east", 1, PV_MAP), MeterConfig("west", 7, PV_MAP)))


class Trial:
    """A concentrator, its journal, and a clock to set."""

    def __init__(self, config: Config = Config(), *, trial: bool = False) -> None:  # noqa: B008 - frozen
        self.journal: list[str] = []
        self.now = 100.0
        self.turns: list[bool] = []
        self.concentrator = Concentrator(
            config,
            self.journal.append,
            lambda: self.now,
            lambda: 1.7e9 + self.now,
            trial=trial,
            yield_to_sink=self.turns.append,
        )

    def client(self, address: str) -> Session:
        session = self.concentrator.admit(address)
        assert session is not None
        return session


@pytest.fixture
def trial() -> Trial:
    return Trial()


ILLEGAL_FUNCTION = "0001 0000 0003 01 {:02x} 01"


def test_what_the_field_writes_the_control_zone_reads(trial: Trial) -> None:
    esp32, opta = trial.client("192.168.1.50"), trial.client("192.168.2.10")
    assert esp32.respond(write(0)) == wire("0001 0000 0006 01 10 0000 0008")
    assert opta.respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    assert trial.journal == [
        "[WRITER] pv: ESP32 (192.168.1.50) writes it",
        "[RX FROM ESP32] 2016-01-01T06:00:00+00:00 | P_ac=250.0W P_dc=260.0W V_dc=48.50V I_dc=5.36A "
        "G=850.0W/m² T_cell=45.6°C | Total RX: 1",
        "[TX TO OPTA] Served registers 0-7 | Total served: 1",
    ]


def test_before_the_first_sample_the_registers_are_0(trial: Trial) -> None:
    assert trial.client("192.168.2.10").respond(read(0, 8)) == answer(1, (0,) * 8)


MASK_WRITE = adu(1, wire("16 0000 0000 ffff"))
READ_WRITE = adu(1, wire("17 0000 0002 0000 0001 02 0007"))


@pytest.mark.parametrize(
    "request_",
    [write(0), write_one(0, 1), write(0)[:12], write_one(9, 1), MASK_WRITE, READ_WRITE, READ_WRITE[:8]],
)
@pytest.mark.parametrize("address", ["192.168.2.10", "127.0.0.1", "::1"])
def test_a_client_that_may_only_read_gets_exception_01_for_any_write(
    trial: Trial, address: str, request_: bytes
) -> None:
    session = trial.client(address)
    assert session.respond(request_) == wire(ILLEGAL_FUNCTION.format(request_[7] | 0x80))
    assert trial.concentrator.statistics.refused == 1
    assert session.respond(read(0, 8)) == answer(1, (0,) * 8)


def test_in_a_trial_this_machine_plays_both_peers() -> None:
    trial = Trial(trial=True)
    here = trial.client("127.0.0.1")
    here.respond(write(0))
    assert here.respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    tags = [line.partition("]")[0] for line in trial.journal]
    assert tags == ["[WRITER", "[RX FROM ESP32", "[TX TO OPTA"]


@pytest.mark.parametrize(
    "function", [0, 1, 2, 5, 7, 11, 12, 15, 17, 20, 21, 24, 0x55, 0x7F, 0x80, 0x83, 0x90, 0xFF]
)
def test_an_unknown_function_gets_exception_01_with_its_own_function_byte(
    trial: Trial, function: int
) -> None:
    for address in ("192.168.1.50", "192.168.2.10"):
        reply = trial.client(address).respond(adu(1, bytes([function])))
        assert reply == wire(ILLEGAL_FUNCTION.format(function | 0x80))
    statistics = trial.concentrator.statistics
    # 5 and 15 would write coils, which are not there.
    assert (statistics.refused, statistics.exceptions) == ((2, 0) if function in (5, 15) else (0, 2))


@pytest.mark.parametrize("unit", [0, 1, 255])
def test_the_only_meter_answers_to_its_own_identifier_and_to_0_and_255(trial: Trial, unit: int) -> None:
    assert trial.client("192.168.1.50").respond(read(0, 1, unit)) == answer(unit, (0,))


@pytest.mark.parametrize(
    ("unit", "config"), [(9, Config()), (0, TWO_METERS), (255, TWO_METERS), (2, TWO_METERS)]
)
def test_an_unknown_unit_gets_exception_0b(unit: int, config: Config) -> None:
    session = Trial(config).client("192.168.1.50")
    assert session.respond(read(0, 1, unit)) == wire(f"0001 0000 0003 {unit:02x} 83 0b")
    assert session.respond(write(0, unit=unit)) == wire(f"0001 0000 0003 {unit:02x} 90 0b")


def test_each_meter_has_registers_of_its_own() -> None:
    trial = Trial(TWO_METERS)
    session = trial.client("192.168.1.50")
    session.respond(write(0, unit=7))
    assert session.respond(read(0, 8, unit=7)) == answer(7, SAMPLE_REGISTERS)
    assert session.respond(read(0, 8, unit=1)) == answer(1, (0,) * 8)
    assert trial.journal[1].startswith("[RX FROM ESP32] west | ")


def test_totals_are_kept_for_each_peer(trial: Trial) -> None:
    esp32, opta, here = (trial.client(a) for a in ("192.168.1.50", "192.168.2.10", "127.0.0.1"))
    for session in (esp32, opta, opta, here):
        session.respond(read(0, 1))
    esp32.respond(write(0))
    statistics = trial.concentrator.statistics
    assert {name: (t.received, t.served) for name, t in statistics.peers.items()} == {
        "ESP32": (1, 1),
        "OPTA": (0, 2),
        "LOCALHOST": (0, 1),
    }
    assert (statistics.received, statistics.served) == (1, 4)


def test_a_request_with_an_error_in_it_is_no_read_and_no_sample(trial: Trial) -> None:
    session = trial.client("192.168.1.50")
    session.respond(read(0, 9))
    session.respond(write(1))
    assert [line for line in trial.journal if not line.startswith("[REFUSED]")] == []
    statistics = trial.concentrator.statistics
    assert (statistics.refused, statistics.exceptions, statistics.received) == (1, 1, 0)


def test_a_read_with_a_write_is_both_in_the_totals_and_in_the_journal(trial: Trial) -> None:
    session = trial.client("192.168.1.50")
    values = write(0)[13:]
    reply = session.respond(adu(1, wire("17 0002 0001 0000 0008 10") + values))
    assert reply == adu(1, wire("17 02 01e5"))
    tags = [line.partition("]")[0] for line in trial.journal]
    assert tags == ["[WRITER", "[RX FROM ESP32", "[TX TO ESP32"]
    assert trial.journal[2].endswith("Served registers 2-2 | Total served: 1")
    statistics = trial.concentrator.statistics
    assert (statistics.received, statistics.served, statistics.exceptions) == (1, 1, 0)


def test_a_masked_register_belongs_to_the_sample(trial: Trial) -> None:
    session = trial.client("192.168.1.50")
    session.respond(write(0, SAMPLE_REGISTERS[:7]))
    session.respond(adu(1, wire("16 0007 0000 15e0")))
    assert [line.rpartition("| ")[2] for line in trial.journal[1:]] == ["Total RX: 1"]
    assert trial.client("192.168.2.10").respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)


@pytest.mark.parametrize("request_", [adu(1, wire("08 0000 a537")), adu(1, wire("2b 0e 01 00"))])
def test_an_echo_and_an_identification_are_no_read_and_no_sample(trial: Trial, request_: bytes) -> None:
    reply = trial.client("192.168.2.10").respond(request_)
    assert sent(reply)[7] == request_[7]
    statistics = trial.concentrator.statistics
    assert (trial.journal, statistics.served, statistics.received, statistics.exceptions) == ([], 0, 0, 0)


def test_each_meter_tells_its_own_name_and_map() -> None:
    other = RegisterMap((Measurement("level", 0),))
    trial = Trial(Config(meters=(MeterConfig("east", 1, PV_MAP), MeterConfig("tank", 7, other))))
    session = trial.client("192.168.2.10")
    for unit, name, fingerprint in ((1, b"east", PV_MAP.fingerprint), (7, b"tank", other.fingerprint)):
        assert session.respond(adu(unit, wire("2b 0e 04 80")))[16:] == fingerprint.encode()
        assert session.respond(adu(unit, wire("2b 0e 04 81")))[16:] == name
        assert session.respond(adu(unit, wire("2b 0e 04 06")))[16:] == b"RPI#1"
        assert session.respond(adu(unit, wire("2b 0e 04 02")))[16:] == __version__.encode()


def test_half_a_sample_is_not_told_before_its_other_half(trial: Trial) -> None:
    session = trial.client("192.168.1.50")
    session.respond(write(0, SAMPLE_REGISTERS[:4]))
    assert trial.journal == []
    for offset, value in enumerate(SAMPLE_REGISTERS[4:]):
        session.respond(write_one(4 + offset, value))
    assert [line.rpartition("| ")[2] for line in trial.journal[1:]] == ["Total RX: 1"]


def test_connections_are_counted_up_and_down(trial: Trial) -> None:
    sessions = [trial.client("192.168.1.50") for _ in range(3)]
    sessions[0].closed()
    statistics = trial.concentrator.statistics
    assert (statistics.connections, statistics.open_connections) == (3, 2)


def test_a_crowd_of_unknown_clients_does_not_fill_the_log(trial: Trial) -> None:
    for _ in range(1000):
        assert trial.concentrator.admit("10.0.0.5") is None
    trial.now += 10
    trial.concentrator.admit("10.0.0.6")
    assert trial.concentrator.statistics.unknown_clients == 1001
    assert trial.journal == [
        "[CLOSED] 10.0.0.5 is in no zone",
        "[CLOSED] 10.0.0.6 is in no zone",
    ]
    trial.concentrator.admit("10.0.0.5")
    assert trial.journal[-1] == "[CLOSED] 10.0.0.5 is in no zone (and 999 more since the last such line)"


def test_a_crowd_of_refused_writes_and_bad_frames_fills_no_journal(trial: Trial) -> None:
    opta = trial.client("192.168.2.10")
    for _ in range(100):
        opta.respond(write_one(0, 1))
        opta.bad_frame("length 0, outside 2 to 254")
    assert len(trial.journal) == 2
    assert trial.concentrator.statistics.refused == 100
    assert trial.concentrator.statistics.bad_frames == 100


def test_the_age_is_that_of_the_youngest_sample() -> None:
    trial = Trial(TWO_METERS)
    assert trial.concentrator.age() is None
    session = trial.client("192.168.1.50")
    session.respond(write(0, unit=1))
    trial.now += 5
    session.respond(write(0, unit=7))
    trial.now += 2
    assert trial.concentrator.age() == 2


# Meters with rules of their own


def ruled(*rules: AccessRule, **changes: Any) -> Trial:
    meter = MeterConfig("pv", 1, PV_MAP, access=rules, **changes)
    return Trial(Config(meters=(meter,)))


def test_a_meter_takes_writes_of_its_own_writers_alone() -> None:
    writer = AccessRule("field", (IPv4Network("192.168.1.50/32"),), Access.READ_WRITE)
    trial = ruled(writer, AccessRule("field", (), Access.READ))
    assert sent(trial.client("192.168.1.50").respond(write(0)))[7] == 0x10
    assert trial.client("192.168.1.51").respond(write(0)) == wire(ILLEGAL_FUNCTION.format(0x90))
    assert trial.client("192.168.1.51").respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    assert trial.journal[-2] == (
        "[REFUSED] ESP32 (192.168.1.51) wrote registers 0-7 of unit 1 with function 16: exception 01, it may "
        "only read"
    )


def test_a_writer_that_may_not_read_gets_exception_01_for_reads() -> None:
    trial = ruled(AccessRule("field", (), Access.WRITE), AccessRule("control", (), Access.READ))
    esp32 = trial.client("192.168.1.50")
    assert sent(esp32.respond(write(0)))[7] == 0x10
    assert esp32.respond(read(0, 8)) == wire(ILLEGAL_FUNCTION.format(0x83))
    assert esp32.respond(READ_WRITE) == wire(ILLEGAL_FUNCTION.format(0x97))
    line = "[REFUSED] ESP32 (192.168.1.50) read registers 0-7 of unit 1 with function 3: exception 01, "
    assert f"{line}it may not do that" in trial.journal


def test_only_refused_writes_count_as_such_in_the_status_block() -> None:
    trial = ruled(AccessRule("field", (), Access.WRITE), AccessRule("control", (), Access.READ))
    trial.client("192.168.1.50").respond(read(0, 8))
    opta = trial.client("192.168.2.10")
    assert (status_of(opta)[4], trial.concentrator.statistics.refused) == (0, 1)
    opta.respond(write(0))
    assert (status_of(opta)[4], trial.concentrator.statistics.refused) == (1, 2)


def test_a_client_may_use_the_function_codes_of_its_rule_alone() -> None:
    trial = ruled(
        AccessRule("field", (), Access.READ_WRITE, frozenset({16})),
        AccessRule("control", (), Access.READ, frozenset({4})),
    )
    opta = trial.client("192.168.2.10")
    assert sent(opta.respond(adu(1, wire("04 0000 000d"))))[7] == 4
    for refused in (read(0, 8), adu(1, wire("08 0000 a537"))):
        assert opta.respond(refused)[7:] == bytes((refused[7] | 0x80, 1))
    assert sent(trial.client("192.168.1.50").respond(write_one(0, 1)))[7] == 0x86


# Freshness, range, status


def status_of(session: Session) -> tuple[int, ...]:
    return struct.unpack(">HHIIIIIH", sent(session.respond(adu(1, wire("04 0000 000d"))))[9:])


def test_the_status_block_is_read_as_input_registers_in_whole_or_in_part() -> None:
    trial = Trial()
    opta, esp32 = trial.client("192.168.2.10"), trial.client("192.168.1.50")
    assert status_of(opta) == (1, 0, 0xFFFFFFFF, 0, 0, int(PV_MAP.fingerprint, 16), 0, 0)
    esp32.respond(write(0))
    opta.respond(write(0))
    trial.now += 3
    assert status_of(opta) == (1, 1, 3, 1, 1, int(PV_MAP.fingerprint, 16), 1, 0)
    assert opta.respond(adu(1, wire("04 0001 0001")))[9:] == wire("0001")
    assert opta.respond(adu(1, wire("04 0019 0001")))[9:] == wire("0001")
    assert opta.respond(adu(1, wire("04 0019 0002")))[7:] == wire("84 02")
    assert trial.journal[0] == "[TX TO OPTA] Served input registers 0-12 | Total served: 1"


def test_requests_for_a_unit_that_no_meter_has_are_counted_in_every_meters_status_block() -> None:
    trial = Trial(TWO_METERS)
    esp32, opta = trial.client("192.168.1.50"), trial.client("192.168.2.10")

    def unknown_units(unit: int) -> int:
        return int.from_bytes(sent(opta.respond(adu(unit, wire("04 0013 0002"))))[9:])

    esp32.respond(write(0, unit=255))
    opta.respond(read(0, 8, unit=9))
    assert (unknown_units(1), unknown_units(7)) == (2, 2)
    trial.concentrator.reconfigure(TWO_METERS)
    opta.readmit()
    esp32.respond(write(0, unit=255))
    esp32.respond(write(0, unit=7))
    assert (unknown_units(1), unknown_units(7)) == (3, 3)
    statistics = trial.concentrator.statistics
    assert (statistics.refused, statistics.exceptions) == (2, 1)
    assert [meter.refused for meter in trial.concentrator.meters] == [0, 0]


def test_a_meter_that_gets_stale_and_fresh_again_is_told_and_its_readers_are_refused_meanwhile() -> None:
    trial = ruled(stale_after=10, on_stale=OnStale.EXCEPTION)
    opta, esp32 = trial.client("192.168.2.10"), trial.client("192.168.1.50")
    no_data = wire("0001 0000 0003 01 83 0b")
    assert opta.respond(read(0, 8)) == no_data
    esp32.respond(write(0))
    assert opta.respond(read(0, 8)) == opta.respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    assert trial.concentrator.next_check() == trial.now + 10
    trial.now += 10
    trial.concentrator.check()
    assert trial.journal[-1] == "[STALE] pv: no sample for 10 s"
    assert opta.respond(read(0, 8)) == no_data
    esp32.respond(write(0))
    assert trial.journal[-1] == "[FRESH] pv: samples come again"
    assert opta.respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)


def test_a_value_out_of_range_is_refused_and_told_with_its_name() -> None:
    small = RegisterMap((Measurement("T", 0, unit="°C", maximum=100),))
    trial = Trial(Config(meters=(MeterConfig("m", 1, small, out_of_range=OutOfRange.REFUSE),)))
    esp32 = trial.client("192.168.1.50")
    for request in (write_one(0, 101), write(0, (101,)), adu(1, wire("16 0000 0000 0065"))):
        assert esp32.respond(request)[7:] == bytes((request[7] | 0x80, 3))
    assert sent(esp32.respond(write(0, (100,))))[7] == 0x10
    assert esp32.respond(write(0, (101,)))[7:] == wire("90 03")
    assert trial.journal[0] == (
        "[REFUSED] ESP32 (192.168.1.50) wrote register 0 of unit 1 with function 6: exception 03, T=101.0°C "
        "is out of range"
    )
    assert trial.concentrator.statistics.refused == trial.concentrator.meters[0].refused == 4
    assert trial.client("192.168.2.10").respond(read(0, 1)) == answer(1, (100,))


# The journal's quota


def test_over_its_quota_the_journal_sums_up_and_nothing_is_left_out_of_the_totals() -> None:
    trial = Trial(Config()._replace(journal=JournalConfig(lines_per_second=2)))
    esp32, opta = trial.client("192.168.1.50"), trial.client("192.168.2.10")
    for _ in range(100):
        esp32.respond(write(0))
        opta.respond(read(0, 8))
    assert len(trial.journal) == 1 + 4 + 1
    for _ in range(60):
        trial.now += 1
        trial.concentrator.tick()
    assert trial.journal[6:] == [
        "[STALE] pv: no sample for 60 s",
        "[RX FROM ESP32] 96 more samples in 60 s | Total RX: 100",
        "[TX TO OPTA] Served 99 more reads in 60 s | Total served: 100",
    ]


def test_a_device_and_a_plc_at_their_usual_rates_write_few_lines() -> None:
    trial = Trial()
    esp32, opta = trial.client("192.168.1.50"), trial.client("192.168.2.10")
    for second in range(600):
        if second % 2 == 0:
            esp32.respond(write(0))
        for _ in range(10):
            if opta.cached_reply(read(0, 8)) is None:
                opta.respond(read(0, 8))
        trial.now += 1
        trial.concentrator.tick()
    kinds = Counter(line.partition("]")[0] for line in trial.journal)
    assert kinds == {"[WRITER": 1, "[RX FROM ESP32": 300, "[TX TO OPTA": 1 + 10}
    assert trial.journal[2] == "[TX TO OPTA] Served registers 0-7 | Total served: 1"
    assert trial.journal[-1] == "[TX TO OPTA] Served 600 more reads in 60 s | Total served: 6000"


def test_the_first_read_after_a_minute_of_silence_has_a_line() -> None:
    trial = Trial()
    opta = trial.client("192.168.2.10")
    for _ in range(2):
        opta.respond(read(0, 8))
        opta.respond(read(0, 8))
        for _ in range(61):
            trial.now += 1
            trial.concentrator.tick()
    assert trial.journal == [
        "[TX TO OPTA] Served registers 0-7 | Total served: 1",
        "[TX TO OPTA] Served 1 more reads in 60 s | Total served: 2",
        "[TX TO OPTA] Served registers 0-7 | Total served: 3",
        "[TX TO OPTA] Served 1 more reads in 60 s | Total served: 4",
    ]


def test_with_no_lines_at_all_the_sums_are_told() -> None:
    trial = Trial(Config()._replace(journal=JournalConfig(lines_per_second=0)))
    trial.client("192.168.2.10").respond(read(0, 8))
    assert trial.journal == []
    trial.concentrator.tick(final=True)
    assert trial.journal == ["[TX TO OPTA] Served 1 more reads in 0 s | Total served: 1"]


# The history


class Recorder:
    def __init__(self) -> None:
        self.backlog = 0
        self.stored: bool | None = None
        self.rows: list[tuple[str, float, bytes, int | None, int]] = []
        self.clients: list[int] = []

    def record(  # noqa: PLR0917 - as the sink's
        self, meter: str, now: float, registers: bytes, measured: int | None, flags: int, client: int = 0
    ) -> int:
        self.rows.append((meter, now, registers, measured, flags))
        self.clients.append(client)
        return len(self.rows)

    def stored_up_to(self, ticket: int) -> bool | None:
        return self.stored


def test_every_sample_is_recorded_however_it_came() -> None:
    trial, recorder = Trial(), Recorder()
    trial.concentrator.use_sink(recorder, durable=False)
    esp32 = trial.client("192.168.1.50")
    replies = [esp32.respond(write(0)), esp32.respond(write(0))]
    replies += [esp32.respond(write_one(offset, value)) for offset, value in enumerate(SAMPLE_REGISTERS)]
    assert all(isinstance(reply, bytes) for reply in replies)
    assert recorder.rows == [("pv", 100.0, write(0)[13:], 1451628000, 0)] * 3
    assert recorder.clients == [client_number("192.168.1.50")] * 3


def test_with_durable_writes_a_reply_to_a_write_that_completes_a_sample_is_held() -> None:
    trial = Trial()
    trial.concentrator.use_sink(Recorder(), durable=True)
    esp32 = trial.client("192.168.1.50")
    acknowledged = wire("0001 0000 0006 01 10 0000 0008")
    for ticket in (1, 2):
        assert esp32.respond(write(0)) == Held(ticket, acknowledged, write(0))
    assert esp32.respond(write_one(0, 1)) == write_one(0, 1)
    assert esp32.respond(read(0, 1)) == answer(1, (1,))
    assert esp32.commit_status(1) is None
    trial.concentrator.use_sink(None, durable=True)
    assert esp32.commit_status(1) is False


def test_if_more_comes_in_than_the_disk_takes_writers_wait_and_readers_do_not() -> None:
    trial, recorder = Trial(), Recorder()
    trial.concentrator.use_sink(recorder, durable=False)
    esp32 = trial.client("192.168.1.50")

    def write_until_reviewed() -> set[type]:
        return {type(esp32.respond(write(0))) for _ in range(256)}

    assert write_until_reviewed() == {bytes}
    recorder.backlog = BUSY_BACKLOG
    assert write_until_reviewed() == {bytes}
    assert trial.turns == [False, False, True]
    recorder.backlog = FULL_BACKLOG
    assert write_until_reviewed() == {bytes}
    held = esp32.respond(write(0))
    assert isinstance(held, Held)
    assert held.ticket == 769
    assert trial.client("192.168.2.10").respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    assert esp32.commit_status(769) is None
    # The disk has failed: the values are in the registers, and durable writes were not asked for.
    recorder.stored = False
    assert esp32.commit_status(769) is True
    recorder.stored = None
    # The disk keeps up again.
    recorder.backlog = 0
    trial.concentrator.review_backlog()
    assert esp32.commit_status(769) is True
    assert isinstance(esp32.respond(write(0)), bytes)
    assert trial.turns[-1] is False


# A new configuration


def test_a_new_configuration_keeps_values_totals_and_connections() -> None:
    trial = Trial()
    esp32, opta = trial.client("192.168.1.50"), trial.client("192.168.2.10")
    esp32.respond(write(0))
    opta.respond(read(0, 8))
    voltage = PV_MAP.measurements[2]._replace(scale=100)
    changed = RegisterMap((*PV_MAP.measurements[:2], voltage, *PV_MAP.measurements[3:]))
    trial.concentrator.reconfigure(Config(meters=(MeterConfig("pv", 1, changed),)))
    assert [session.readmit() for session in (esp32, opta)] == [True, True]
    assert opta.respond(read(2, 1)) == answer(1, (4850,))
    assert status_of(opta)[1:6] == (1, 0, 1, 0, int(changed.fingerprint, 16))
    assert trial.journal[-1].endswith("Total served: 2")


def test_a_client_that_a_new_configuration_knows_no_more_is_told_apart() -> None:
    trial = Trial()
    esp32, opta = trial.client("192.168.1.50"), trial.client("192.168.2.10")
    trial.concentrator.reconfigure(Config(zones=(FIELD_ZONE,)))
    assert [esp32.readmit(), opta.readmit()] == [True, False]


def test_a_right_that_a_new_configuration_takes_away_is_gone_for_open_connections() -> None:
    trial = Trial()
    esp32 = trial.client("192.168.1.50")
    esp32.respond(write(0))
    esp32.respond(read(0, 8))
    rules = (AccessRule("field", (), Access.NONE), AccessRule("control", (), Access.READ_WRITE))
    trial.concentrator.reconfigure(Config(meters=(MeterConfig("pv", 1, PV_MAP, access=rules),)))
    esp32.readmit()
    assert esp32.respond(read(0, 8))[7:] == wire("83 01")
    assert esp32.respond(write(0))[7:] == wire("90 01")


def test_meters_come_and_go_with_a_new_configuration() -> None:
    trial = Trial()
    esp32 = trial.client("192.168.1.50")
    esp32.respond(write(0))
    trial.concentrator.reconfigure(
        Config(meters=(MeterConfig("new", 1, PV_MAP), MeterConfig("pv", 9, PV_MAP)))
    )
    esp32.readmit()
    assert esp32.respond(read(0, 8, unit=9)) == answer(9, SAMPLE_REGISTERS)
    assert esp32.respond(read(0, 8, unit=1)) == answer(1, (0,) * 8)
