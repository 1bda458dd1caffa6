"""Register maps as text, for storage: each row is decoded with the map it was recorded with.

A row holds the registers of measurements only. If a map has gaps, its text has each measurement's place in
the row as the address, which is what the first release decodes by, and the true address as `wire`.
"""

from __future__ import annotations

import json
import math
from typing import Any

from smart_meter.registers.data_types import DataType
from smart_meter.registers.layout import Layout
from smart_meter.registers.register_map import Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder

_WIRE = "wire"


def define(register_map: RegisterMap) -> str:
    """Return a map as a JSON array, an object for each measurement; equal maps give equal texts."""
    layout = Layout(register_map)
    records = []
    for measurement in register_map.measurements:
        record = {name: _plain(value) for name, value in measurement._asdict().items()}
        if layout.has_gaps:
            record |= {"address": layout.index[measurement.address], _WIRE: measurement.address}
        records.append(record)
    return json.dumps(records, ensure_ascii=False, allow_nan=False)


def parse(definition: str, *, as_stored: bool = False) -> RegisterMap:
    """Return the map of a text that `define` made. Raises ValueError for any other text.

    as_stored: with each measurement's place in a row as its address.
    """
    try:
        return RegisterMap(tuple(_measurement(record, as_stored) for record in json.loads(definition)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a register map: {definition[:80]!r}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, (DataType, WordOrder)):
        return value.value
    # JSON has no NaN: SQLite's JSON functions would reject the whole text.
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def _measurement(record: dict[str, Any], as_stored: bool) -> Measurement:
    known = set(Measurement._fields)
    values = {name: value for name, value in record.items() if name in known}
    values["type"] = DataType(values["type"])
    values["word_order"] = WordOrder(values["word_order"])
    if values.get("sentinel") == "nan":
        values["sentinel"] = math.nan
    if not as_stored:
        values["address"] = record.get(_WIRE, values["address"])
    return Measurement(**values)
