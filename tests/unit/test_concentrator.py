import pytest

from smart_meter import __version__
from smart_meter.concentrator import Concentrator, Session
from smart_meter.config import Config, MeterConfig
from smart_meter.register_map import PV_MAP, Measurement, RegisterMap
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, wire, write, write_one

TWO_METERS = Config(meters=(MeterConfig("east", 1, PV_MAP), MeterConfig("west", 7, PV_MAP)))


class Trial:
    """A concentrator, its journal, and a clock to set."""

    def __init__(self, config: Config = Config(), *, trial: bool = False) -> None:  # noqa: B008 - frozen
        self.journal: list[str] = []
        self.now = 100.0
        self.concentrator = Concentrator(
            config, self.journal.append, lambda: self.now, lambda: 1.7e9 + self.now, trial=trial
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
    assert [line.partition("]")[0] for line in trial.journal] == ["[RX FROM ESP32", "[TX TO OPTA"]


@pytest.mark.parametrize(
    "function", [0, 1, 2, 4, 5, 7, 11, 12, 15, 17, 20, 21, 24, 0x55, 0x7F, 0x80, 0x83, 0x90, 0xFF]
)
def test_an_unknown_function_gets_exception_01_with_its_own_function_byte(
    trial: Trial, function: int
) -> None:
    for address in ("192.168.1.50", "192.168.2.10"):
        reply = trial.client(address).respond(adu(1, bytes([function])))
        assert reply == wire(ILLEGAL_FUNCTION.format(function | 0x80))
    assert trial.concentrator.statistics.exceptions == 2


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
    assert trial.journal[0].startswith("[RX FROM ESP32] west | ")


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
    assert trial.journal == []
    assert trial.concentrator.statistics.exceptions == 2


def test_a_read_with_a_write_is_both_in_the_totals_and_in_the_journal(trial: Trial) -> None:
    session = trial.client("192.168.1.50")
    values = write(0)[13:]
    reply = session.respond(adu(1, wire("17 0002 0001 0000 0008 10") + values))
    assert reply == adu(1, wire("17 02 01e5"))
    assert [line.partition("]")[0] for line in trial.journal] == ["[RX FROM ESP32", "[TX TO ESP32"]
    assert trial.journal[1].endswith("Served registers 2-2 | Total served: 1")
    statistics = trial.concentrator.statistics
    assert (statistics.received, statistics.served, statistics.exceptions) == (1, 1, 0)


def test_a_masked_register_belongs_to_the_sample(trial: Trial) -> None:
    session = trial.client("192.168.1.50")
    session.respond(write(0, SAMPLE_REGISTERS[:7]))
    session.respond(adu(1, wire("16 0007 0000 15e0")))
    assert [line.rpartition("| ")[2] for line in trial.journal] == ["Total RX: 1"]
    assert trial.client("192.168.2.10").respond(read(0, 8)) == answer(1, SAMPLE_REGISTERS)


@pytest.mark.parametrize("request_", [adu(1, wire("08 0000 a537")), adu(1, wire("2b 0e 01 00"))])
def test_an_echo_and_an_identification_are_no_read_and_no_sample(trial: Trial, request_: bytes) -> None:
    reply = trial.client("192.168.2.10").respond(request_)
    assert reply[7] == request_[7]
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
    assert [line.rpartition("| ")[2] for line in trial.journal] == ["Total RX: 1"]


def test_connections_are_counted_up_and_down(trial: Trial) -> None:
    sessions = [trial.client("192.168.1.50") for _ in range(3)]
    sessions[0].closed()
    statistics = trial.concentrator.statistics
    assert (statistics.connections, statistics.open_connections) == (3, 2)


def test_a_crowd_of_strangers_fills_no_journal(trial: Trial) -> None:
    for _ in range(1000):
        assert trial.concentrator.admit("10.0.0.5") is None
    trial.now += 10
    trial.concentrator.admit("10.0.0.6")
    assert trial.concentrator.statistics.strangers == 1001
    assert trial.journal == [
        "[CLOSED] 10.0.0.5 is in no zone",
        "[CLOSED] 10.0.0.6 is in no zone (and 999 more like it since it was last told)",
    ]


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
