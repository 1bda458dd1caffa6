import csv
import io

import pytest

from smart_meter.config import Config, MeterConfig
from smart_meter.map_document import IdentifierError, render
from smart_meter.map_document.tags import COLUMNS
from smart_meter.registers import status_block
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder


def imported(*meters: MeterConfig) -> dict[str, dict[str, str]]:
    """The tags by their names, as a program would read them."""
    text = render("csv", meters, meters)
    records = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert len({record["tag"] for record in records}) == len(records)
    return {record["tag"]: record for record in records}


def test_the_columns_keep_their_names_and_order() -> None:
    text = render("csv", Config().meters, Config().meters)
    assert text.split("\r\n")[0] == (
        "tag,meter,unit_id,name,table,address,reference,registers,type,iec_type,word_order,scale,offset,unit,"
        "minimum,maximum,sentinel,read_function,write_functions,flag_bit,description,no_value"
    )


def test_every_line_holds_one_tag_and_ends_with_cr_lf() -> None:
    text = render("csv", Config().meters, Config().meters)
    lines = text.split("\r\n")
    assert lines.pop() == ""
    assert not any("\n" in line or "\r" in line for line in lines)
    assert len(lines) == 1 + 7 + len(status_block.FIELDS)


def test_a_measurements_tag_has_everything_that_a_plc_needs() -> None:
    measurement = Measurement(
        "T.cell",
        9998,
        DataType.INT32,
        scale=0.5,
        unit='"°C",',
        word_order=WordOrder.LITTLE,
        offset=-40,
        minimum=-20.5,
        maximum=80,
        sentinel=-1,
    )
    tag = imported(MeterConfig("roof-east", 7, RegisterMap((measurement,))))["roof_east_T_cell"]
    assert tuple(tag) == COLUMNS
    assert list(tag.values()) == [
        *("roof_east_T_cell", "roof-east", "7", "T.cell", "holding", "9998", "49999", "2", "int32", "DINT"),
        *("little", "0.5", "-40", '"°C",', "-20.5", "80", "-1", "3", "16", "0", "", "-1"),
    ]


def test_the_status_block_is_input_registers_of_each_meter() -> None:
    tags = imported(*Config().meters)
    age = tags["pv_status_age"]
    assert [age[key] for key in ("table", "address", "reference", "read_function", "write_functions")] == [
        *("input", "2", "30003", "4", ""),
    ]
    assert [age[key] for key in ("registers", "iec_type", "word_order", "unit")] == ["2", "UDINT", "big", "s"]


@pytest.mark.parametrize(
    ("address", "reference"), [(0, "40001"), (9998, "49999"), (9999, "410000"), (65535, "465536")]
)
def test_a_reference_number_has_six_digits_if_five_are_too_few(address: int, reference: str) -> None:
    tags = imported(MeterConfig("m", 1, RegisterMap((Measurement("x", address),))))
    assert tags["m_x"]["reference"] == reference


def test_a_type_has_its_iec_61131_name_and_its_own_sentinel() -> None:
    measurements = (Measurement(kind.value, 2 * place, kind) for place, kind in enumerate(DataType))
    tags = imported(MeterConfig("m", 1, RegisterMap(tuple(measurements))))
    types = {
        kind.value: (tags[f"m_{kind.value}"]["iec_type"], tags[f"m_{kind.value}"]["sentinel"])
        for kind in DataType
    }
    assert types == {
        "int16": ("INT", "-32768"),
        "uint16": ("UINT", "65535"),
        "int32": ("DINT", "-2147483648"),
        "uint32": ("UDINT", "4294967295"),
        "float32": ("REAL", "nan"),
        "timestamp": ("UDINT", ""),
    }


def test_only_the_first_sixteen_measurements_have_a_flag_and_only_with_limits() -> None:
    measurements = [Measurement(f"x{i}", 100 - i, maximum=None if i == 3 else 5) for i in range(18)]
    tags = imported(MeterConfig("m", 1, RegisterMap(tuple(measurements))))
    flags = [tags[f"m_x{i}"]["flag_bit"] for i in range(18)]
    assert flags == [*"012", "", *(str(i) for i in range(4, 16)), "", ""]


def test_a_measurement_with_the_tag_of_a_status_block_entry_is_refused() -> None:
    meter = MeterConfig("pv", 1, RegisterMap((Measurement("status.age", 0),)))
    with pytest.raises(IdentifierError, match=r'PV_STATUS_AGE .* "status\.age" of meter "pv"'):
        imported(meter)
