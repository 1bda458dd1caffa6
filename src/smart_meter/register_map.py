"""Measurements, where they lie in a meter's registers, and how they are encoded.

The stored integer is the value times the scale: 48.5 V with scale 10 is stored as 485.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_UINT16 = 0xFFFF
MAX_UINT32 = 0xFFFF_FFFF


class DataType(enum.Enum):
    """How a measurement is laid out in registers."""

    UINT16 = "uint16"
    TIMESTAMP = "timestamp"
    """Unix seconds in two registers, the high word first."""

    @property
    def width(self) -> int:
        """Return how many registers one value takes."""
        return _WIDTHS[self]


_WIDTHS = {DataType.UINT16: 1, DataType.TIMESTAMP: 2}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One named value in a map."""

    name: str
    address: int
    type: DataType = DataType.UINT16
    scale: float = 1
    unit: str = ""
    decimals: int = 1

    @property
    def width(self) -> int:
        """Return how many registers the measurement takes."""
        return self.type.width

    @property
    def end(self) -> int:
        """Return the first register address behind the measurement."""
        return self.address + self.width

    def decode(self, registers: Sequence[int]) -> float:
        """Return the measurement in its engineering unit (a timestamp in Unix seconds).

        registers: as many uint16 as `self.width`, in wire order.
        The stored integer is divided by `self.scale` (485 with scale 10 is 48.5 V).
        Raises ValueError where the count differs.
        """
        if len(registers) != self.width:
            raise ValueError(f"{self.name} takes {self.width} registers, not {len(registers)}")
        if self.type is DataType.TIMESTAMP:
            return registers[0] << 16 | registers[1]
        return registers[0] / self.scale

    def encode(self, value: float) -> list[int]:
        """Return the registers that hold a value: the inverse of `decode`, rounded to the nearest integer.

        Raises ValueError where the registers can't hold the value.
        """
        stored = round(value * self.scale)
        limit = MAX_UINT32 if self.type is DataType.TIMESTAMP else MAX_UINT16
        if not 0 <= stored <= limit:
            raise ValueError(f"{self.name}: {value} is stored as {stored}, outside 0 to {limit}")
        if self.type is DataType.TIMESTAMP:
            return [stored >> 16, stored & MAX_UINT16]
        return [stored]

    def format(self, value: float) -> str:
        """Return the value with its unit as the journal prints it, such as `48.50V`."""
        return f"{value:.{self.decimals}f}{self.unit}"


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """The measurements of one meter, in the order in which the journal prints them."""

    measurements: tuple[Measurement, ...]

    @property
    def start(self) -> int:
        """Return the lowest register address of the map."""
        return min(measurement.address for measurement in self.measurements)

    @property
    def end(self) -> int:
        """Return the first register address behind the map."""
        return max(measurement.end for measurement in self.measurements)

    @property
    def quantity(self) -> int:
        """Return the number of registers from the first to the last, gaps included."""
        return self.end - self.start

    @property
    def timestamp(self) -> Measurement | None:
        """Return the measurement that says when the sample was taken, where the map has one."""
        return next((m for m in self.measurements if m.type is DataType.TIMESTAMP), None)

    @property
    def addresses(self) -> frozenset[int]:
        """Return the addresses of the registers that belong to a measurement: the span without its gaps."""
        return frozenset(address for m in self.measurements for address in range(m.address, m.end))

    @property
    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that change with whatever changes the registers' meaning.

        Equal maps have equal fingerprints on any machine. Order and decimals do not count: they are the
        journal's.
        """
        parts = sorted((m.address, m.name, m.type.value, float(m.scale), m.unit) for m in self.measurements)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]

    def decode(self, registers: Sequence[int]) -> dict[str, float]:
        """Return every measurement's value by its name.

        registers: the whole span, from `start` on.
        """
        start = self.start
        return {m.name: m.decode(registers[m.address - start : m.end - start]) for m in self.measurements}

    def encode(self, values: Mapping[str, float]) -> list[int]:
        """Return the registers of the whole span; gaps and measurements without a value are 0."""
        registers = [0] * self.quantity
        start = self.start
        for measurement in self.measurements:
            if measurement.name in values:
                encoded = measurement.encode(values[measurement.name])
                registers[measurement.address - start : measurement.end - start] = encoded
        return registers


PV_MAP = RegisterMap(
    (
        Measurement("P_ac", 0, unit="W"),
        Measurement("P_dc", 1, unit="W"),
        Measurement("V_dc", 2, scale=10, unit="V", decimals=2),
        Measurement("I_dc", 3, scale=100, unit="A", decimals=2),
        Measurement("G", 4, unit="W/m²"),
        Measurement("T_cell", 5, scale=10, unit="°C"),
        Measurement("Timestamp", 6, type=DataType.TIMESTAMP),
    )
)
"""The map that the ESP32 and the Opta share where the configuration names no other."""
