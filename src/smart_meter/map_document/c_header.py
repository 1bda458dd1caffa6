"""The register map as a C header: the ESP32 encodes with it, the Opta decodes."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence

from smart_meter import __version__
from smart_meter.config import MeterConfig, OutOfRange
from smart_meter.map_document.c_helpers import HELPERS
from smart_meter.map_document.identifiers import Claims, measurement_identifiers, meter_identifiers
from smart_meter.map_document.rows import number, requests
from smart_meter.registers import status_block
from smart_meter.registers.data_types import MAX_UINT16, DataType
from smart_meter.registers.register_map import Measurement
from smart_meter.registers.status_block import FIELDS, State
from smart_meter.registers.word_order import WordOrder

_TOP = """\
/*
 * Register maps of a smart-meter concentrator, written by `smart-meter map --format c` (version @VERSION@).
 * Do not edit: change the configuration, and write this file again. C99 and C++11; no memory is allocated.
 *
 * NAME_encode(&values, registers)   0, or the NAME_VALUE_... that does not fit; then registers is unchanged
 * NAME_decode(registers, &values)   can't fail: any registers can be decoded
 * NAME_is_sentinel(registers, NAME_VALUE_...)   whether the registers mean "no value": the meter is stale and
 *     configured so, or the sender has stored that number, which the comment of the value names
 * smart_meter_status_decode(registers, &status)   the status block: input registers, function code 04
 *
 * registers: NAME_QUANTITY holding registers from address NAME_START on, each as the processor has a uint16_t
 * (a Modbus library has put the bytes in order). value = stored / scale + offset, rounded half to even when
 * stored. Values are doubles, which hold every 32-bit integer exactly; a float does not.
 */
"""
_INCLUDES = """\
#include <float.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
"""


def c_header(meters: Sequence[MeterConfig], chosen: Sequence[MeterConfig]) -> str:
    """Return the header of the chosen meters. Raises IdentifierError.

    meters: all meters of the configuration.
    """
    names = meter_identifiers(meters)
    claims = Claims()
    parts = [_Meter(meter, names[meter.name]).text(claims) for meter in chosen]
    helpers = HELPERS.replace("@STATUS@", _status())
    for identifier in sorted(set(re.findall(r"\bsmart_meter_\w+", helpers, re.IGNORECASE))):
        claims.claim(identifier, "this header's own use")
    body = "\n".join([_INCLUDES, helpers, *parts])
    # The headers of two configurations can be included side by side, and the same one twice.
    guard = f"SMART_METER_MAP_{zlib.crc32(body.encode()):08X}_H"
    top = _TOP.replace("@VERSION@", __version__)
    return f"{top}#ifndef {guard}\n#define {guard}\n\n{body}\n#endif /* {guard} */\n"


class _Meter:
    def __init__(self, meter: MeterConfig, identifier: str) -> None:
        self.meter = meter
        self.map = meter.map
        self.name = identifier.lower()
        self.upper = identifier.upper()
        self.members = measurement_identifiers(meter.map)
        self.indexed = list(enumerate(meter.map.measurements, 1))

    def text(self, claims: Claims) -> str:
        owner = f'meter "{self.meter.name}"'
        functions = [f"{self.name}{end}" for end in ("_values", "_encode", "_decode", "_is_sentinel")]
        constants = [
            f"{self.upper}_{end}" for end in ("UNIT_ID", "START", "QUANTITY", "COUNT", "FINGERPRINT")
        ]
        enums = [f"{self.name}_address", f"{self.name}_value"]
        for identifier in functions + constants + enums:
            claims.claim(identifier, owner)
        for m in self.map.measurements:
            for identifier in (self._address(m), self._index(m)):
                claims.claim(identifier, f'measurement "{m.name}" of {owner}')
        parts = (
            self._constants(),
            self._enum("address", [(self._address(m), m.address) for _, m in self.indexed]),
            self._enum("value", [(self._index(m), index) for index, m in self.indexed]),
            self._struct(),
            self._encode(),
            self._decode(),
            self._is_sentinel(),
        )
        return "\n".join(parts)

    def _address(self, measurement: Measurement) -> str:
        return f"{self.upper}_ADDRESS_{self.members[measurement.name].upper().rstrip('_')}"

    def _index(self, measurement: Measurement) -> str:
        return f"{self.upper}_VALUE_{self.members[measurement.name].upper().rstrip('_')}"

    def _constants(self) -> str:
        reads, writes = requests(self.meter)
        last = self.map.end - 1
        lines = [
            f"Meter {self.meter.name}: holding registers {self.map.start} to {last}, "
            f"in {reads} request{'s' * (reads > 1)} to read and {writes} to write.",
        ]
        if len(self.map.addresses) < self.map.quantity:
            lines.append("Registers between the measurements are encoded as 0 and mean nothing.")
        return (
            _comment(lines)
            + f"#define {self.upper}_UNIT_ID {self.meter.unit_id}\n"
            + f"#define {self.upper}_START {self.map.start}\n"
            + f"#define {self.upper}_QUANTITY {self.map.quantity}UL\n"
            + f"#define {self.upper}_COUNT {len(self.indexed)}\n"
            + f"#define {self.upper}_FINGERPRINT 0x{self.map.fingerprint.upper()}UL\n"
        )

    def _enum(self, what: str, entries: list[tuple[str, int]]) -> str:
        lines = ",\n".join(f"    {name} = {value}" for name, value in entries)
        comment = {
            "address": "Where each measurement begins, from 0; a PLC tool may show 40001 for 0.",
            "value": "The measurements, counted from 1 in the configuration's order.",
        }[what]
        return f"{_comment([comment])}enum {self.name}_{what} {{\n{lines}\n}};\n"

    def _struct(self) -> str:
        lines = []
        for _, m in self.indexed:
            kind = m.type.c_type.name if _is_exact(m) else "double"
            lines.append(f"    {kind} {self.members[m.name]}; /* {self._describe(m)} */\n")
        return f"typedef struct {self.name}_values {{\n{''.join(lines)}}} {self.name}_values;\n"

    def _describe(self, m: Measurement) -> str:
        """Return the comment of a measurement."""
        parts = [m.name, m.type.value]
        if m.width > 1:
            parts.append("high word first" if m.word_order is WordOrder.BIG else "low word first")
        if m.type is DataType.TIMESTAMP:
            parts.append("Unix seconds")
        if m.scale != 1:
            parts.append(f"scale {number(m.scale)}")
        if m.offset:
            parts.append(f"offset {number(m.offset)}")
        if m.minimum is not None:
            parts.append(f"minimum {number(m.minimum)}")
        if m.maximum is not None:
            parts.append(f"maximum {number(m.maximum)}")
        if m.limited and self.meter.out_of_range is OutOfRange.REFUSE:
            parts.append("refused outside")
        if m.no_value_number is not None:
            parts.append(f"no value is stored as {number(m.no_value_number)}")
        if m.unit:
            parts.append(f"in {m.unit}")
        return _safe(", ".join(parts))

    def _encode(self) -> str:
        checks = []
        stores = []
        for index, m in self.indexed:
            stored = f"stored[{index - 1}]"
            value = f"values->{self.members[m.name]}"
            if _is_exact(m):
                checks.append(f"    {stored} = {value};\n")
            else:
                how = ", ".join([_double(m.scale), _double(m.offset), *_limits(m.type)])
                call = f"{m.type.c_type.store}({value}, {how}, &{stored})"
                checks.append(f"    if (!{call}) {{\n        return {self._index(m)};\n    }}\n")
            parts = ["low"] if m.width == 1 else ["high", "low"]
            if m.word_order is WordOrder.LITTLE:
                parts.reverse()
            for place, part in enumerate(parts, m.address - self.map.start):
                stores.append(f"    registers[{place}] = smart_meter_detail_{part}({stored});\n")
        return (
            f"static inline int {self.name}_encode(\n"
            f"    const {self.name}_values *values, uint16_t registers[{self.upper}_QUANTITY]) {{\n"
            f"    uint32_t stored[{self.upper}_COUNT];\n"
            f"{''.join(checks)}"
            f"    memset(registers, 0, {self.upper}_QUANTITY * sizeof registers[0]);\n"
            f"{''.join(stores)}"
            f"    return 0;\n}}\n"
        )

    def _decode(self) -> str:
        lines = []
        for _, m in self.indexed:
            raw = self._stored(m)
            if _is_exact(m):
                decoded = m.type.c_type.exact.format(raw)
            else:
                stored = m.type.c_type.load.format(raw)
                decoded = f"smart_meter_detail_value({stored}, {_double(m.scale)}, {_double(m.offset)})"
            lines.append(f"    values->{self.members[m.name]} = {decoded};\n")
        return (
            f"static inline void {self.name}_decode(\n"
            f"    const uint16_t registers[{self.upper}_QUANTITY], {self.name}_values *values) {{\n"
            f"{''.join(lines)}}}\n"
        )

    def _is_sentinel(self) -> str:
        cases = []
        for _, m in self.indexed:
            sentinel = m.sentinel_registers()
            if sentinel is None:
                continue
            if math.isnan(m.decode(sentinel)):
                test = f"smart_meter_detail_is_nan({self._stored(m)})"
            else:
                if m.word_order is WordOrder.LITTLE:
                    sentinel.reverse()
                test = f"{self._stored(m)} == 0x{''.join(f'{register:04X}' for register in sentinel)}u"
            cases.append(f"    case {self._index(m)}:\n        return {test};\n")
        unused = "" if cases else "    (void)registers;\n"
        return (
            _comment(["False for a timestamp, and for a number that is not a NAME_VALUE_..."])
            + f"static inline bool {self.name}_is_sentinel("
            f"const uint16_t registers[{self.upper}_QUANTITY], int value) {{\n{unused}"
            f"    switch (value) {{\n{''.join(cases)}    default:\n        return false;\n    }}\n}}\n"
        )

    def _stored(self, m: Measurement) -> str:
        place = m.address - self.map.start
        if m.width == 1:
            return f"registers[{place}]"
        high, low = (place, place + 1) if m.word_order is WordOrder.BIG else (place + 1, place)
        return f"smart_meter_detail_join(registers[{high}], registers[{low}])"


def _status() -> str:
    members = "".join(
        f"    {field.type.c_type.name} {field.name}; /* {_safe(field.meaning)} */\n" for field in FIELDS
    )
    states = ",\n".join(f"    SMART_METER_{state.name} = {state.value}" for state in State)
    reads = "".join(f"    status->{field.name} = {_field(field)};\n" for field in FIELDS)
    return f"""\
#define SMART_METER_STATUS_START {status_block.START}
#define SMART_METER_STATUS_QUANTITY {status_block.QUANTITY}
#define SMART_METER_STATUS_CORE {status_block.CORE}
#define SMART_METER_STATUS_LAYOUT_VERSION {status_block.LAYOUT_VERSION}
#define SMART_METER_STATUS_NO_AGE 0x{status_block.NO_AGE:08X}UL

enum smart_meter_state {{
{states}
}};

typedef struct smart_meter_status {{
{members}}} smart_meter_status;

/*
 * False if the block has another layout than this header: then its values mean nothing. An older
 * concentrator answers a read of all registers with exception 02: then read the first
 * SMART_METER_STATUS_CORE, and set the others to 0.
 */
static inline bool smart_meter_status_decode(
    const uint16_t registers[SMART_METER_STATUS_QUANTITY], smart_meter_status *status) {{
{reads}    return status->layout_version == SMART_METER_STATUS_LAYOUT_VERSION;
}}

/* Whether a measurement, by its NAME_VALUE_..., is out of range; the first {status_block.FLAGS} only. */
static inline bool smart_meter_status_out_of_range(const smart_meter_status *status, int value) {{
    return value >= 1 && value <= {status_block.FLAGS} && ((status->out_of_range >> (value - 1)) & 1) != 0;
}}"""


def _field(field: status_block.Field) -> str:
    place = field.address - status_block.START
    if field.width == 1:
        return f"registers[{place}]"
    return f"((uint32_t)registers[{place}] << 16) | registers[{place + 1}]"


def _is_exact(measurement: Measurement) -> bool:
    """Whether a measurement's member holds the stored number itself instead of a double."""
    return measurement.whole and measurement.type.c_type.exact != ""


def _limits(kind: DataType) -> list[str]:
    """Return the limits as literals; none for a type whose helper knows them."""
    return [f"{limit}LL" if abs(limit) > MAX_UINT16 else str(limit) for limit in kind.limits or ()]


def _double(value: float) -> str:
    # The shortest decimal that the compiler reads back as the same double.
    return repr(float(value))


def _comment(lines: list[str]) -> str:
    return f"/* {_safe(' '.join(lines))} */\n"


def _safe(text: str) -> str:
    """Return a text that neither ends a comment nor begins another one, nor holds a trigraph."""
    return re.sub(r"(?<=[*/])(?=[*/])|(?<=\?)(?=\?)", " ", text)
