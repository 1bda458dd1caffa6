"""The text of the header; tests/integration/test_map_header.py compiles it."""

import re

import pytest

from smart_meter.config import Config, MeterConfig
from smart_meter.map_document import IdentifierError, render
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, RegisterMap


def header(*meters: MeterConfig) -> str:
    return render("c", meters, meters)


def one(unit: str = "", name: str = "x", meter: str = "m") -> MeterConfig:
    return MeterConfig(meter, 1, RegisterMap((Measurement(name, 0, unit=unit),)))


def test_the_documented_map_has_its_constants_and_members() -> None:
    lines = header(*Config().meters).splitlines()
    assert {
        "#define PV_UNIT_ID 1",
        "#define PV_QUANTITY 8UL",
        "#define PV_FINGERPRINT 0xA6E383D7UL",
        "    PV_ADDRESS_T_CELL = 5,",
        "    PV_VALUE_T_CELL = 6,",
        "    double T_cell; /* T_cell, uint16, scale 10, minimum 0, maximum 100, in °C */",
        "    uint32_t Timestamp; /* Timestamp, timestamp, high word first, Unix seconds */",
    } <= set(lines)


def program(text: str) -> str:
    """The header without its comments, and without what differs from map to map: guard and fingerprint."""
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"SMART_METER_MAP_[0-9A-F]{8}_H|0x[0-9A-F]{8}UL", "", bare)


@pytest.mark.parametrize("unit", ["*/", "/*", "*/*/*", "??/", "???/", "\\"])
def test_no_unit_ends_a_comment_or_begins_another(unit: str) -> None:
    text = header(one(unit))
    assert program(text) == program(header(one("W")))
    assert not any("/*" in comment[2:] for comment in re.findall(r"/\*.*?\*/", text, re.DOTALL))
    assert "??" not in text


def _guard(text: str) -> str:
    found = re.search(r"#ifndef (\w+)", text)
    assert found
    return found[1]


def test_the_same_map_gives_the_same_header_and_another_map_another_guard() -> None:
    assert header(one()) == header(one())
    assert _guard(header(one())) != _guard(header(one(name="y")))


def test_no_memory_is_allocated_and_nothing_printed() -> None:
    text = header(*Config().meters)
    assert re.findall(r"#include (.*)", text) == ["<float.h>", "<stdbool.h>", "<stdint.h>", "<string.h>"]
    calls = set(
        re.findall(r"\b(?!smart_meter_|pv_)([a-z_]+)\(", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    )
    assert calls <= {"if", "switch", "memset", "memcpy", "defined"}


@pytest.mark.parametrize(
    ("meters", "identifier"),
    [
        ((one(meter="smart-meter.status"),), "SMART_METER_STATUS_QUANTITY"),
        ((one(meter="pv", name="start"), one(meter="pv_address")), "PV_ADDRESS_START"),
        ((one(meter="pv.value"), one(meter="pv", name="count")), "PV_VALUE_COUNT"),
    ],
)
def test_an_identifier_with_two_owners_is_refused(meters: tuple[MeterConfig, ...], identifier: str) -> None:
    with pytest.raises(IdentifierError, match=f"^{identifier} would stand for .*; rename one of them$"):
        header(*meters)


def test_a_meter_may_have_the_programs_name() -> None:
    assert "smart_meter_encode(" in header(one(meter="smart-meter"))


def test_the_comment_of_a_value_names_what_is_stored_for_no_value() -> None:
    register_map = RegisterMap(
        (
            Measurement("T", 0, DataType.INT16, unit="°C"),
            Measurement("E", 1, DataType.FLOAT32),
            Measurement("P", 3),
            Measurement("Q", 4, no_value=True),
        )
    )
    meter = MeterConfig("m", 1, register_map)
    lines = [line.strip() for line in header(meter).splitlines()]
    assert "double T; /* T, int16, no value is stored as -32768, in °C */" in lines
    assert "double E; /* E, float32, high word first, no value is stored as nan */" in lines
    assert "double P; /* P, uint16 */" in lines
    assert "double Q; /* Q, uint16, no value is stored as 65535 */" in lines
