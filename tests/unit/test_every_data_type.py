"""Each data type through each output, at both ends of its range: a new entry has to be right in all.

The C header of all types is compiled and held against Python in tests/integration/test_map_header.py.
"""

from __future__ import annotations

import csv
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from smart_meter.cli.commands import simulate
from smart_meter.cli.commands.read import record, table
from smart_meter.cli.main import main
from smart_meter.cli.simulator import PvDay
from smart_meter.config import Config, JournalConfig, LogFormat
from smart_meter.config.load import loads
from smart_meter.history.maps import define, parse
from smart_meter.log.make_formatter import make_formatter
from smart_meter.map_document import render
from smart_meter.map_document.markdown import data_types
from smart_meter.meters.meter import Meter
from smart_meter.meters.sample import iso_time
from smart_meter.registers.data_types import CType, DataType, Entry, Kind
from tests.unit.history.bench import TIMEOUT, Bench, Hands

FLOAT_LIMITS = (-3.4028234663852886e38, 3.4028234663852886e38)
CASES = [(kind, limit) for kind in DataType for limit in kind.limits or FLOAT_LIMITS]


def configured(kind: DataType, order: str = "big") -> Config:
    """Return a configuration with one measurement of the type, shown without decimals."""
    text = (
        "[[meters]]\nname = 'm'\nunit_id = 7\n"
        f"[[meters.measurements]]\nname = 'x'\naddress = 3\ndecimals = 0\ntype = '{kind.value}'\n"
    )
    return loads(text + (f"word_order = '{order}'\n" if kind.width > 1 else ""), "c.toml")


def shown(kind: DataType, value: float) -> str:
    """Return every digit of a value, as all outputs for people have it."""
    return iso_time(value) if kind.kind is Kind.TIMESTAMP else f"{int(value)}"


def the_value(parsed: Any) -> tuple[float, type]:
    return parsed, type(parsed)


@pytest.mark.parametrize(("kind", "value"), CASES)
@pytest.mark.parametrize("order", ["big", "little"])
def test_registers_and_log_lines(kind: DataType, value: float, order: str) -> None:
    config = configured(kind, order)
    [measurement] = config.meters[0].map.measurements
    registers = measurement.encode(value)
    assert len(registers) == kind.width
    assert the_value(measurement.decode(registers)) == (value, int if kind.integral else float)

    meter = Meter(config.meters[0])
    meter.store(struct.pack(f">{kind.width}H", *registers), 1.0)
    sample = meter.last_sample(2.0)
    text = make_formatter(config, lambda: 2.0).received(sample, "ESP32", "192.168.1.50", 1)
    journal = JournalConfig(LogFormat.JSON)
    written = json.loads(
        make_formatter(config._replace(journal=journal), lambda: 2.0).received(
            sample, "ESP32", "192.168.1.50", 1
        )
    )
    if kind.kind is Kind.TIMESTAMP:
        assert sample.measured == value
        assert f"] {shown(kind, value)} |" in text
        assert written["measured"] == shown(kind, value)
    elif measurement.is_no_value(registers):
        assert " x=- |" in text
        assert written["values"] == {"x": None}
    else:
        assert f" x={shown(kind, value)} |" in text
        assert the_value(written["values"]["x"]) == (value, int if kind.integral else float)


@pytest.mark.parametrize(("kind", "value"), CASES)
def test_what_read_prints(kind: DataType, value: float) -> None:
    [meter] = configured(kind).meters
    # No limit is a value where it is the sentinel.
    [measurement] = meter.map.measurements
    registers = measurement.encode(value)
    sentinel = measurement.is_sentinel(registers)
    cells = table(meter, registers).splitlines()[1].split()
    assert cells[1:3] == ["x", "-" if sentinel else shown(kind, value)]
    [read] = json.loads(json.dumps(record("h", 502, meter, registers, None)))["measurements"]
    assert read["value"] == (None if sentinel else value)
    assert sentinel or type(read["value"]) is (int if kind.integral else float)


@pytest.mark.parametrize("kind", list(DataType))
def test_what_the_history_gives_back(
    kind: DataType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [meter] = configured(kind).meters
    assert parse(define(meter.map)) == meter.map
    limits = kind.limits or FLOAT_LIMITS
    bench = Bench(tmp_path / "history.db", Hands())
    bench.open([meter])
    for value in limits:
        encoded = meter.map.measurements[0].encode(value)
        data = struct.pack(f">{kind.width}H", *encoded)
        bench.stored("m", data, measured=value if kind.kind is Kind.TIMESTAMP else None)
    bench.history.stop(TIMEOUT)

    printed = {}
    for form in ("table", "csv", "json"):
        capsys.readouterr()
        assert main(["history", "--path", str(bench.path), "--format", form]) == 0
        printed[form] = capsys.readouterr().out
    in_csv = list(csv.DictReader(io.StringIO(printed["csv"])))
    in_json = [json.loads(line) for line in printed["json"].splitlines()]
    in_table = [line.split() for line in printed["table"].splitlines()[1:]]
    if kind.kind is Kind.TIMESTAMP:
        times = [shown(kind, value) for value in limits]
        assert [row["measured"] for row in in_csv] == [row["measured"] for row in in_json] == times
        assert [cells[1] for cells in in_table] == times
    else:
        # The lowest number of a signed type is its sentinel.
        missing = [value == kind.sentinel and kind.has_no_value for value in limits]
        assert missing == [kind.integral and limits[0] < 0, False]
        assert [cells[3:] for cells in in_table] == [
            [] if nothing else [shown(kind, value)] for value, nothing in zip(limits, missing, strict=True)
        ]
        assert [the_value(row["values"]["x"]) for row in in_json] == [
            (None, type(None)) if nothing else (value, int if kind.integral else float)
            for value, nothing in zip(limits, missing, strict=True)
        ]
        digits = [str(value) if kind.integral else f"{value:.12g}" for value in limits]
        assert [row["x"] for row in in_csv] == [
            "" if nothing else text for text, nothing in zip(digits, missing, strict=True)
        ]


@pytest.mark.parametrize("kind", list(DataType))
def test_the_map_documents(kind: DataType) -> None:
    meters = configured(kind).meters
    last = f"-{2 + kind.width}" if kind.width > 1 else ""
    assert f"| 3{last} | 40004 | `x` | {kind.value} |" in render("markdown", meters, meters)
    [tag] = [
        row
        for row in csv.DictReader(io.StringIO(render("csv", meters, meters), newline=""))
        if row["tag"] == "m_x"
    ]
    assert (tag["registers"], tag["type"], tag["iec_type"]) == (str(kind.width), kind.value, kind.iec_type)
    sentinel = kind.sentinel
    assert tag["sentinel"] == ("" if sentinel is None else str(sentinel))
    assert f"x; /* x, {kind.value}" in render("c", meters, meters)


@pytest.mark.parametrize("kind", list(DataType))
def test_the_simulator_writes_and_shows_it(kind: DataType) -> None:
    [meter] = configured(kind).meters
    registers = PvDay().registers(meter.map, 12 * 3600.0, 1451628000)
    assert len(registers) == kind.width
    assert any(registers)
    decoded = meter.map.decode(registers)["x"]
    text = simulate._decoded(meter.map, registers)
    assert (
        text.startswith(shown(kind, decoded)) if kind.kind is Kind.TIMESTAMP else text == f"x={decoded:.0f}"
    )


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> DataType:
    """Return a data type that is one more entry of the table for the time of a test: 64 bits, unsigned."""
    entry = Entry(
        kind=Kind.INTEGER,
        layout=">Q",
        limits=(0, 2**64 - 1),
        sentinel=2**64 - 1,
        iec_type="ULINT",
        c_type=CType("uint64_t", "store", "{}", "{}"),
        use="a test",
    )
    # What the enum module keeps of `DataType.__new__`, which it replaces by the look-up.
    kind: DataType = DataType.__dict__["_new_member_"](DataType, "made-up", entry)
    kind._name_ = "MADE_UP"
    monkeypatch.setitem(DataType._member_map_, "MADE_UP", kind)
    monkeypatch.setitem(DataType._value2member_map_, "made-up", kind)
    monkeypatch.setattr(DataType, "_member_names_", [*DataType._member_names_, "MADE_UP"])
    return kind


def test_a_data_type_is_one_entry_and_no_digit_of_64_bits_is_lost(
    made_up: DataType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(DataType)[-1] is made_up
    for value in (0, 2**53 + 1, 2**64 - 2, 2**64 - 1):
        for order in ("big", "little"):
            test_registers_and_log_lines(made_up, value, order)
        test_what_read_prints(made_up, value)
    test_what_the_history_gives_back(made_up, tmp_path, capsys)
    # The C header has no helpers for four registers yet: not among these.
    meters = configured(made_up).meters
    assert "| 3-6 | 40004 | `x` | made-up |" in render("markdown", meters, meters)
    assert "ULINT" in render("csv", meters, meters)
    assert "18446744073709551615" in render("csv", meters, meters)
    assert "| `made-up` | 4 | 0 to 18,446,744,073,709,551,615 | 0xFFFFFFFFFFFFFFFF | a test |" in data_types()
    test_the_simulator_writes_and_shows_it(made_up)
