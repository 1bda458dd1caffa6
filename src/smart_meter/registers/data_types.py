"""The table of data types: the bytes of a number, high word first, and what each output calls its type.

A data type is one entry of `DataType`; configuration, decoding, history and documents take it from there.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Sequence
from typing import NamedTuple, Self

MAX_UINT16 = 2**16 - 1
MAX_UINT32 = 2**32 - 1
_MAX_DOUBLE_INTEGER = 2**53
"""Up to here a double holds every integer."""


class Kind(enum.Enum):
    """What a stored number is."""

    INTEGER = enum.auto()
    FLOAT = enum.auto()
    """IEEE 754, binary."""
    TIMESTAMP = enum.auto()
    """Whole Unix seconds, without scale, offset, range and sentinel."""


class CType(NamedTuple):
    """How the C header handles a data type; the helpers are those of map_document/c_helpers.py."""

    name: str
    """The C type that holds each stored number."""
    store: str
    """The helper that stores a double, or returns false if the data type can't hold it."""
    load: str
    """The stored number as a double: an expression in which {} stands for the registers, joined to an
    unsigned integer."""
    exact: str = ""
    """The same as `name`, for a member that holds the number itself; empty: each member is a double."""


class Entry(NamedTuple):
    """The columns of the table."""

    kind: Kind
    layout: str
    """A format of the struct module, high byte first."""
    limits: tuple[int, int] | None
    """The lowest and the highest integer that can be stored; None for a floating-point number."""
    sentinel: float | None
    """The stored number that means "no value"; None for a timestamp.

    SunSpec Device Information Model Specification, "Unimplemented Registers".
    """
    iec_type: str
    """The type of IEC 61131-3 that holds the stored number."""
    c_type: CType
    use: str
    """What the documentation recommends the data type for."""


class DataType(enum.Enum):
    """A data type; the value is its name in the configuration."""

    INT16 = (
        "int16",
        Entry(
            kind=Kind.INTEGER,
            layout=">h",
            limits=(-(2**15), 2**15 - 1),
            sentinel=-(2**15),
            iec_type="INT",
            c_type=CType("int16_t", "smart_meter_detail_integer", "smart_meter_detail_signed({}, 65536.0)"),
            use="temperatures, power in both directions: with scale 10 up to ±3,276.7",
        ),
    )
    UINT16 = (
        "uint16",
        Entry(
            kind=Kind.INTEGER,
            layout=">H",
            limits=(0, MAX_UINT16),
            sentinel=MAX_UINT16,
            iec_type="UINT",
            c_type=CType("uint16_t", "smart_meter_detail_integer", "(double){}"),
            use="what is never below zero: with scale 10 up to 6,553.5",
        ),
    )
    INT32 = (
        "int32",
        Entry(
            kind=Kind.INTEGER,
            layout=">i",
            limits=(-(2**31), 2**31 - 1),
            sentinel=-(2**31),
            iec_type="DINT",
            c_type=CType(
                "int32_t", "smart_meter_detail_integer", "smart_meter_detail_signed({}, 4294967296.0)"
            ),
            use="what int16 is too small for",
        ),
    )
    UINT32 = (
        "uint32",
        Entry(
            kind=Kind.INTEGER,
            layout=">I",
            limits=(0, MAX_UINT32),
            sentinel=MAX_UINT32,
            iec_type="UDINT",
            c_type=CType("uint32_t", "smart_meter_detail_integer", "(double){}"),
            use="counters, energy in Wh",
        ),
    )
    FLOAT32 = (
        "float32",
        Entry(
            kind=Kind.FLOAT,
            layout=">f",
            limits=None,
            sentinel=math.nan,
            iec_type="REAL",
            c_type=CType("float", "smart_meter_detail_float32", "smart_meter_detail_number({})"),
            use="sources that send floats anyway; exact for integers up to 16,777,216 only",
        ),
    )
    TIMESTAMP = (
        "timestamp",
        Entry(
            kind=Kind.TIMESTAMP,
            layout=">I",
            limits=(0, MAX_UINT32),
            sentinel=None,
            iec_type="UDINT",
            c_type=CType("uint32_t", "smart_meter_detail_integer", "(double){}", "{}"),
            use="when the sample was measured: Unix seconds, until 2106",
        ),
    )

    _value_: str
    kind: Kind
    layout: str
    limits: tuple[int, int] | None
    sentinel: float | None
    iec_type: str
    c_type: CType
    use: str
    width: int
    """How many registers one value takes."""
    has_no_value: bool
    """Whether a sender's sentinel means "no value" unless the configuration decides otherwise.

    Not for an unsigned type: many senders use its highest number as a value.
    """
    integral: bool
    """Whether the stored number is an integer."""
    fits_double: bool
    """Whether a double holds every stored number exactly."""
    _number: struct.Struct
    _words: struct.Struct

    def __new__(cls, name: str, *entry: Entry) -> Self:
        """Make the name the value: `DataType("uint16")` is a look-up. The columns become plain attributes.

        Decoding reads them for every value, and an attribute is what Python finds fastest.
        """
        member = object.__new__(cls)
        member._value_ = name
        (columns,) = entry
        member.kind = columns.kind
        member.layout = columns.layout
        member.limits = columns.limits
        member.sentinel = columns.sentinel
        member.iec_type = columns.iec_type
        member.c_type = columns.c_type
        member.use = columns.use
        member._number = struct.Struct(columns.layout)
        member.width = member._number.size // 2
        member._words = struct.Struct(f">{member.width}H")
        member.integral = columns.kind is not Kind.FLOAT
        low, high = columns.limits or (0, 0)
        member.has_no_value = columns.sentinel is not None and (low < 0 or not member.integral)
        member.fits_double = max(-low, high) <= _MAX_DOUBLE_INTEGER
        return member

    def unpack(self, registers: Sequence[int]) -> float:
        """Return the stored number: a float for a floating-point type, else an int.

        registers: `width` uint16, the high word first.
        """
        number: float = self._number.unpack(self._words.pack(*registers))[0]
        return number

    def pack(self, stored: float) -> list[int]:
        """Return the registers, high word first, that hold a number within `limits`.

        Raises OverflowError if it is more than a floating-point type can hold.
        """
        data = self._number.pack(int(stored) if self.integral else stored)
        return list(self._words.unpack(data))

    def nearest(self, number: float) -> float:
        """Return the stored number that is nearest to a number; an infinity if it is too large."""
        if self.integral:
            return round(number)
        try:
            return float(self._number.unpack(self._number.pack(number))[0])
        except OverflowError:
            return math.copysign(math.inf, number)
