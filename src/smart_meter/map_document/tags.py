"""The register map as CSV (RFC 4180): one tag per line, for a PLC's tag import."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from smart_meter.config import MeterConfig
from smart_meter.map_document.identifiers import Claims, measurement_identifiers, meter_identifiers
from smart_meter.map_document.rows import (
    WRITE_MULTIPLE,
    WRITE_SINGLE,
    Row,
    measurement_rows,
    number,
    status_rows,
)

COLUMNS = (
    "tag",
    "meter",
    "unit_id",
    "name",
    "table",
    "address",
    "reference",
    "registers",
    "type",
    "iec_type",
    "word_order",
    "scale",
    "offset",
    "unit",
    "minimum",
    "maximum",
    "sentinel",
    "read_function",
    "write_functions",
    "flag_bit",
    "description",
    "no_value",
)
"""Programs may rely on these names and their order; new ones are added at the end."""


def tags(meters: Sequence[MeterConfig], chosen: Sequence[MeterConfig]) -> str:
    """Return the chosen meters' tags; value = stored / scale + offset. Raises IdentifierError.

    meters: all meters of the configuration.
    """
    prefixes = meter_identifiers(meters)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    claims = Claims()
    for meter in chosen:
        names = measurement_identifiers(meter.map)
        prefix = prefixes[meter.name]
        lines = [(f"{prefix}_{names[row.name]}", row) for row in measurement_rows(meter)]
        lines += [(f"{prefix}_status_{row.name}", row) for row in status_rows()]
        for tag, row in lines:
            kind = "measurement" if row.holding else "status block entry"
            claims.claim(tag.upper(), f'{kind} "{row.name}" of meter "{meter.name}"')
            writer.writerow(_line(tag, meter, row))
    return text.getvalue()


def _line(tag: str, meter: MeterConfig, row: Row) -> list[str | int]:
    writes = f"{WRITE_MULTIPLE}" if row.width > 1 else f"{WRITE_SINGLE} {WRITE_MULTIPLE}"
    return [
        tag,
        meter.name,
        meter.unit_id,
        row.name,
        "holding" if row.holding else "input",
        row.address,
        row.reference,
        row.width,
        row.type.value,
        row.type.iec_type,
        row.word_order,
        number(row.scale),
        number(row.offset),
        row.unit,
        number(row.minimum),
        number(row.maximum),
        number(row.sentinel),
        row.function,
        writes if row.holding else "",
        number(row.flag),
        row.meaning,
        number(row.no_value),
    ]
