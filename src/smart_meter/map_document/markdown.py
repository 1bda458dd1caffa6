"""The register map as Markdown, for people."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from smart_meter.config import MeterConfig, OnStale, OutOfRange, Publish
from smart_meter.map_document.rows import Row, measurement_rows, number, requests, status_rows
from smart_meter.registers.data_types import DataType

_STALE = {
    OnStale.HOLD: "the last values stay",
    OnStale.EXCEPTION: "a read gets exception 0B",
    OnStale.SENTINEL: "a read gets the sentinels",
}
_PUBLISH = {
    Publish.IMMEDIATE: "readers see every write at once",
    Publish.COMPLETE: "readers see only complete samples",
}
_OUT_OF_RANGE = {
    OutOfRange.FLAG: "is accepted and flagged",
    OutOfRange.REFUSE: "is refused with exception 03",
}
_COLUMNS = (
    "address",
    "reference",
    "name",
    "type",
    "word order",
    "scale",
    "offset",
    "unit",
    "minimum",
    "maximum",
)


def markdown(meters: Sequence[MeterConfig]) -> str:
    """Return the meters' holding registers, and their status block."""
    return "\n".join([*(_meter(meter) for meter in meters), _status()])


def data_types() -> str:
    """Return the table of data types of docs/register-map.md."""
    head = ["type", "registers", "stored", "sentinel", "use it for"]
    rows = [
        [f"`{kind.value}`", str(kind.width), _range(kind), _default_sentinel(kind), kind.use]
        for kind in DataType
    ]
    return _table(head, rows)


def _range(kind: DataType) -> str:
    if kind.limits is None:
        return f"IEEE 754 binary{16 * kind.width}"
    low, high = kind.limits
    return f"{low:,} to {high:,}"


def _default_sentinel(kind: DataType) -> str:
    if kind.sentinel is None:
        return "none"
    registers = "".join(f"{register:04X}" for register in kind.pack(kind.sentinel))
    return f"0x{registers}" + (" (not-a-number)" if math.isnan(kind.sentinel) else "")


def _meter(meter: MeterConfig) -> str:
    register_map = meter.map
    last = register_map.end - 1
    stale = f"{number(meter.stale_after)} s without a sample" if meter.stale_after else "never"
    facts = [
        f"- unit identifier {meter.unit_id}; holding registers {register_map.start} to {last}; "
        f"fingerprint `{register_map.fingerprint}`",
        "- read with function code 03, written with 16 (single registers with 06, too)",
        f"- stale: {stale}" + (f"; then {_STALE[meter.on_stale]}" if meter.stale_after else ""),
        f"- {_PUBLISH[meter.publish]}",
    ]
    limited = any(m.limited for m in register_map.measurements)
    missing = any(m.no_value_number is not None for m in register_map.measurements)
    if missing:
        facts.append('- "no value": what the sender stores if it has none; that is in no range')
    if limited:
        facts.append(f"- a value outside minimum and maximum {_OUT_OF_RANGE[meter.out_of_range]}")
    reads, writes = requests(meter)
    if writes > 1:
        facts.append(f"- too long for one request: {reads} to read, {writes} to write")
    if len(register_map.addresses) < register_map.quantity:
        facts.append("- registers that are not listed mean nothing")
    sentinels = meter.on_stale is OnStale.SENTINEL
    rows = measurement_rows(meter)
    columns = [[*_COLUMNS], *(_measurement(row) for row in rows)]
    for shown, title, cells in (
        (sentinels, "sentinel", [_stored(row, row.sentinel) for row in rows]),
        (missing, "no value", [_stored(row, row.no_value) for row in rows]),
        (limited, "flag", [number(row.flag) for row in rows]),
    ):
        if shown:
            columns = [[*line, cell] for line, cell in zip(columns, [title, *cells], strict=True)]
    head, *lines = columns
    return f"## Meter {_text(meter.name)}\n\n" + "\n".join(facts) + "\n\n" + _table(head, lines)


def _measurement(row: Row) -> list[str]:
    return [
        _addresses(row),
        row.reference,
        f"`{row.name}`",
        row.type.value,
        row.word_order,
        number(row.scale),
        number(row.offset),
        _text(row.unit),
        number(row.minimum),
        number(row.maximum),
    ]


def _status() -> str:
    head = ["address", "reference", "name", "type", "unit", "meaning"]
    rows = [
        [_addresses(row), row.reference, f"`{row.name}`", row.type.value, row.unit, _text(row.meaning)]
        for row in status_rows()
    ]
    intro = "Input registers of every meter, read with function code 04; high word first."
    return f"## Status block\n\n{intro}\n\n{_table(head, rows)}"


def _addresses(row: Row) -> str:
    return f"{row.address}-{row.address + row.width - 1}" if row.width > 1 else str(row.address)


def _stored(row: Row, stored: float | None) -> str:
    if stored is None:
        return ""
    if not row.type.integral:
        return number(stored)
    return f"0x{int(stored) % (1 << 16 * row.width):0{4 * row.width}X}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(text: str) -> str:
    """Return a text with Markdown's special characters escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", text)
