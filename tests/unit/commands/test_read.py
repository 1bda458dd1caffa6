from smart_meter.commands.read import table
from smart_meter.config import Config, MeterConfig
from smart_meter.register_map import Measurement, RegisterMap
from tests.unit.wire import SAMPLE_REGISTERS


def test_the_registers_are_shown_decoded_a_measurement_on_each_line() -> None:
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
