from smart_meter.cli.commands.read import record, table
from smart_meter.config import Config, MeterConfig
from smart_meter.registers import status_block
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, RegisterMap
from smart_meter.registers.status_block import State
from tests.unit.wire import SAMPLE_REGISTERS

MIXED = MeterConfig(
    "m",
    1,
    RegisterMap(
        (
            Measurement("good", 0),
            Measurement("none", 1),
            Measurement("own", 2, DataType.INT16, sentinel=-1),
            Measurement("float", 3, DataType.FLOAT32),
            Measurement("endless", 5, DataType.FLOAT32),
            Measurement("when", 7, DataType.TIMESTAMP),
        )
    ),
)
# The float is a not-a-number with another bit pattern than the sentinel's.
MIXED_REGISTERS = [5, 0xFFFF, 0xFFFF, 0xFFC0, 1, 0x7F80, 0, 0xFFFF, 0xFFFF]


def test_the_registers_are_shown_decoded_one_measurement_per_line() -> None:
    assert table(Config().meters[0], list(SAMPLE_REGISTERS)).splitlines() == [
        "Register  Measurement  Value                      Unit  Raw",
        "0         P_ac         250.0                      W     250",
        "1         P_dc         260.0                      W     260",
        "2         V_dc         48.50                      V     485",
        "3         I_dc         5.36                       A     536",
        "4         G            850.0                      W/m²  850",
        "5         T_cell       45.6                       °C    456",
        "6-7       Timestamp    2016-01-01T06:00:00+00:00        22150 5600",
    ]


def test_a_map_may_begin_anywhere_and_have_gaps() -> None:
    meter = MeterConfig("m", 1, RegisterMap((Measurement("b", 110), Measurement("a", 100, scale=10))))
    lines = table(meter, [15, *[0] * 9, 7]).splitlines()[1:]
    assert [line.split() for line in lines] == [["110", "b", "7.0", "7"], ["100", "a", "1.5", "15"]]


def test_no_value_is_a_dash() -> None:
    shown = {line.split()[1]: line.split()[2] for line in table(MIXED, MIXED_REGISTERS).splitlines()[1:]}
    assert shown == {
        "good": "5.0",
        "none": "-",
        "own": "-",
        "float": "-",
        "endless": "inf",
        "when": "2106-02-07T06:28:15+00:00",
    }


def test_no_value_is_null_in_json_and_the_registers_stay() -> None:
    written = record("h", 502, MIXED, MIXED_REGISTERS, None)["measurements"]
    assert {m["name"]: m["value"] for m in written} == {
        "good": 5,
        "none": None,
        "own": None,
        "float": None,
        "endless": None,
        "when": 0xFFFF_FFFF,
    }
    assert [register for m in written for register in m["raw"]] == MIXED_REGISTERS


def test_json_has_the_state_and_the_age_or_null() -> None:
    def of(state: State, age: float | None) -> tuple[object, object]:
        block = status_block.encode(
            state, age, samples=1, refused=0, fingerprint=MIXED.map.fingerprint, sequence=1
        )
        written = record("h", 502, MIXED, MIXED_REGISTERS, status_block.decode(block))
        return written["state"], written["age"]

    assert of(State.FRESH, 3.9) == ("fresh", 3)
    assert of(State.RESTORED, None) == ("restored", None)
    without = record("h", 502, MIXED, MIXED_REGISTERS, None)
    assert (without["state"], without["age"]) == (None, None)
