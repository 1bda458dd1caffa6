"""docs/register-map.md agrees with the code, and its examples work."""

import re
from pathlib import Path

import pytest
import yaml

from smart_meter.config import Config, OnStale
from smart_meter.config.load import loads
from smart_meter.map_document import render
from smart_meter.map_document.markdown import data_types
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import PV_MAP, Measurement
from smart_meter.registers.status_block import State
from smart_meter.registers.word_order import WordOrder

TEXT = (Path(__file__).parents[2] / "docs" / "register-map.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_inventory_snippet_is_the_default_map_with_a_signed_temperature() -> None:
    [snippet] = [yaml.safe_load(block) for block in blocks("yaml")]
    [meter] = snippet["concentrator_meters"]
    measurements = [
        Measurement(**{**record, "type": DataType(record["type"])}) for record in meter["measurements"]
    ]
    changed = {
        old.name: new for old, new in zip(PV_MAP.measurements, measurements, strict=True) if old != new
    }
    assert list(changed) == ["T_cell"]
    assert changed["T_cell"].type is DataType.INT16
    assert changed["T_cell"].encode(-12.3) == [0xFF85]
    assert "0xFF85" in TEXT


@pytest.mark.parametrize("number", range(len(blocks("toml"))))
def test_every_piece_of_configuration_can_be_loaded(number: int) -> None:
    head = (
        "" if "[[meters]]" in (block := blocks("toml")[number]) else '[[meters]]\nname = "m"\nunit_id = 1\n'
    )
    assert loads(head + block, "register-map.md").meters


def test_the_table_of_data_types_is_current() -> None:
    # After a change, copy what data_types() returns between the two markers.
    assert f"<!-- begin: data types -->\n{data_types()}<!-- end: data types -->\n" in TEXT


def test_every_type_has_its_row_with_range_and_sentinel() -> None:
    for kind in DataType:
        [row] = re.findall(rf"^\| `{kind.value}` \|.*$", TEXT, re.MULTILINE)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == str(kind.width)
        if kind.limits:
            assert cells[2].replace(",", "") == f"{kind.limits[0]} to {kind.limits[1]}"
        registers = Measurement("x", 0, kind).sentinel_registers()
        shown = "none" if registers is None else "".join(f"{register:04X}" for register in registers)
        assert shown in cells[3].replace("0x", "").split()


def test_the_example_of_word_order_is_right() -> None:
    for order, letters in ((WordOrder.BIG, "ABCD"), (WordOrder.LITTLE, "CDAB")):
        stored = Measurement("x", 0, DataType.UINT32, word_order=order).encode(0x12345678)
        registers = " | ".join(f"0x{register:04X}" for register in stored)
        assert f'| `"{order.value}"` | {letters} | {registers} |' in TEXT


def test_every_state_and_policy_has_its_row() -> None:
    for state in State:
        assert re.search(rf"^\| {state.value} \| {state.name.lower()} \| ", TEXT, re.MULTILINE)
    for policy in OnStale:
        assert re.search(rf'^\| `"{policy.value}"` \| ', TEXT, re.MULTILINE)


def test_the_plc_program_knows_the_default_maps_fingerprint_and_bits() -> None:
    assert f"16#{PV_MAP.fingerprint.upper()}" in TEXT
    bit = [measurement.name for measurement in PV_MAP.measurements].index("T_cell")
    assert f"16#{1 << bit:04X}) <> 0;   (* bit {bit}: T_cell" in TEXT


def test_the_c_examples_use_names_of_the_header() -> None:
    meters = Config().meters
    header = render("c", meters, meters)
    used = {
        name
        for block in blocks("cpp")
        for name in re.findall(r"\b(?:pv|PV|smart_meter|SMART_METER)_\w+", block)
    }
    assert len(used) > 10
    missing = {name for name in used if not re.search(rf"\b{name}\b", header)}
    assert not missing
