"""Measurements: their registers in a meter, and how values are encoded: scale, offset, range, sentinel.

The stored number is (value - offset) times the scale: 48.5 V with scale 10 is stored as 485.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import NamedTuple

from smart_meter.registers.data_types import DataType
from smart_meter.registers.word_order import WordOrder

_EXACT = Context(prec=60)
"""Far more digits than a stored number has."""


class Measurement(NamedTuple):
    """One named value in a map; value = stored / scale + offset."""

    name: str
    address: int
    type: DataType = DataType.UINT16
    scale: float = 1
    unit: str = ""
    decimals: int = 1
    word_order: WordOrder = WordOrder.BIG
    offset: float = 0
    minimum: float | None = None
    """In engineering units, like `maximum`. A value outside is out of range; either limit is in range."""
    maximum: float | None = None
    sentinel: float | None = None
    """The stored number that means "no value"; None: the default of the type."""
    no_value: bool | None = None
    """Whether the sentinel means "no value" from the sender, too; None: the default of the type."""

    @property
    def width(self) -> int:
        """Return how many registers the measurement takes."""
        return self.type.width

    @property
    def end(self) -> int:
        """Return the first register address after the measurement."""
        return self.address + self.width

    @property
    def limited(self) -> bool:
        """Whether a value can be out of range."""
        return self.minimum is not None or self.maximum is not None

    @property
    def stored_limits(self) -> tuple[float, float]:
        """Return the lowest and the highest stored number in range; an infinity for no limit.

        They are calculated in decimal arithmetic, so that 0.3 with scale 10 is 3 and not 2.9999999999999996.
        """
        return _stored_limits(self.type, self.scale, self.offset, self.minimum, self.maximum)

    @property
    def no_value_number(self) -> float | None:
        """Return the stored number that a sender without a value sends; None: every number is a value."""
        return _no_value_number(self.type, self.sentinel, self.no_value)

    @property
    def whole(self) -> bool:
        """Whether the value is the stored integer itself: an integer type with scale 1 and offset 0."""
        return self.type.integral and self.scale == 1 and self.offset == 0

    def decode(self, registers: Sequence[int]) -> float:
        """Return the measurement in its engineering unit: an int if the measurement is `whole`, else a float.

        registers: as many uint16 as `self.width`, in wire order.
        The stored number is divided by `self.scale` (485 with scale 10 is 48.5 V), and `self.offset` added.
        Raises ValueError if the count differs.
        """
        stored = self._stored(registers)
        if self.type.integral and self.scale == 1 and self.offset == 0:
            return stored
        return float(stored) / self.scale + self.offset

    def value(self, registers: Sequence[int]) -> float | None:
        """Return the measurement as `decode` does; None if the sender has no value."""
        return None if self.is_no_value(registers) else self.decode(registers)

    def encode(self, value: float) -> list[int]:
        """Return the registers that hold a value: the inverse of `decode`, rounded to what can be stored.

        Raises ValueError if the registers can't hold the value.
        """
        exact = value if self.whole else (value - self.offset) * self.scale
        limits = self.type.limits
        if limits is None:
            return self._registers(exact)
        if not math.isfinite(exact):
            raise ValueError(f"{self.name}: {value} can't be stored as {self.type.value}")
        stored = round(exact)
        low, high = limits
        if not low <= stored <= high:
            raise ValueError(f"{self.name}: {value} is stored as {stored}, outside {low} to {high}")
        return self._registers(stored)

    def sentinel_registers(self) -> list[int] | None:
        """Return the registers that mean "no value"; None for a timestamp, which has no sentinel."""
        if self.type.sentinel is None:
            return None
        return self._registers(self.type.sentinel if self.sentinel is None else self.sentinel)

    def is_sentinel(self, registers: Sequence[int]) -> bool:
        """Whether registers mean "no value". Any not-a-number matches a sentinel that is one."""
        sentinel = self.sentinel_registers()
        if sentinel is None:
            return False
        if sentinel == list(registers):
            return True
        return math.isnan(self._stored(sentinel)) and math.isnan(self._stored(registers))

    def is_no_value(self, registers: Sequence[int]) -> bool:
        """Whether the sender's registers mean that it has no value: its sentinel, or any not-a-number."""
        number = self.no_value_number
        if number is None:
            return False
        stored = self._stored(registers)
        return stored == number or math.isnan(stored)

    def in_range(self, registers: Sequence[int]) -> bool:
        """Whether the stored number lies within `stored_limits`; "no value" and not-a-number never do."""
        low, high = self.stored_limits
        return low <= self._stored(registers) <= high and not self.is_no_value(registers)

    def format(self, value: float) -> str:
        """Return the value with its decimals and its unit as the log shows it: `48.50V`."""
        if isinstance(value, int):
            return f"{self.format_number(value)}{self.unit}"
        return f"{value:.{self.decimals}f}{self.unit}"

    def format_number(self, value: float) -> str:
        """Return the value with its decimals, without its unit: `48.50`."""
        if isinstance(value, int):
            # Python formats an int with decimals as a float, which does not have the digits of a large one.
            return f"{value}.{'0' * self.decimals}" if self.decimals else str(value)
        return f"{value:.{self.decimals}f}"

    def _stored(self, registers: Sequence[int]) -> float:
        kind = self.type
        if len(registers) != kind.width:
            raise ValueError(f"{self.name} takes {kind.width} registers, not {len(registers)}")
        return kind.unpack(registers[::-1] if self.word_order is WordOrder.LITTLE else registers)

    def _registers(self, stored: float) -> list[int]:
        try:
            registers = self.type.pack(stored)
        except OverflowError as error:
            raise ValueError(f"{self.name}: {stored} is more than a {self.type.value} can hold") from error
        return registers[::-1] if self.word_order is WordOrder.LITTLE else registers


class RegisterMap(NamedTuple):
    """The measurements of one meter, in the order in which the log shows them."""

    measurements: tuple[Measurement, ...]

    @property
    def start(self) -> int:
        """Return the lowest register address of the map."""
        return min(measurement.address for measurement in self.measurements)

    @property
    def end(self) -> int:
        """Return the first register address after the map."""
        return max(measurement.end for measurement in self.measurements)

    @property
    def quantity(self) -> int:
        """Return the number of registers from the first to the last, gaps included."""
        return self.end - self.start

    @property
    def timestamp(self) -> Measurement | None:
        """Return the measurement that holds when the sample was taken, if the map has one."""
        return next((m for m in self.measurements if m.type is DataType.TIMESTAMP), None)

    def spans(self, limit: int) -> list[tuple[int, int]]:
        """Return (address, quantity) of as few requests as cover every measurement, by address.

        limit: registers in one request, at least 2. No measurement is split. Registers between two
        measurements are part of a request only if the request has room for both measurements.
        """
        spans: list[tuple[int, int]] = []
        for measurement in sorted(self.measurements, key=lambda m: m.address):
            if spans and measurement.end - spans[-1][0] <= limit:
                spans[-1] = (spans[-1][0], measurement.end - spans[-1][0])
            else:
                spans.append((measurement.address, measurement.width))
        return spans

    @property
    def addresses(self) -> frozenset[int]:
        """Return the addresses of the registers that belong to a measurement: the span without its gaps."""
        return frozenset(address for m in self.measurements for address in range(m.address, m.end))

    @property
    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that change if the meaning of the registers changes.

        Equal maps have equal fingerprints on any machine. Order and decimals do not count: they only
        change the log. Neither do minimum and maximum, which change no register.
        """
        parts = sorted(
            (m.address, m.name, m.type.value, *_meaning(m), m.sentinel_registers() or [])
            for m in self.measurements
        )
        return f"{zlib.crc32(repr(parts).encode()):08x}"

    def decode(self, registers: Sequence[int]) -> dict[str, float]:
        """Return every measurement's value by its name.

        registers: the whole span, from `start` on.
        """
        start = self.start
        return {m.name: m.decode(registers[m.address - start : m.end - start]) for m in self.measurements}

    def values(self, registers: Sequence[int]) -> dict[str, float | None]:
        """Return what `decode` does, with None for each measurement of which the sender has no value."""
        start = self.start
        return {m.name: m.value(registers[m.address - start : m.end - start]) for m in self.measurements}

    def out_of_range(self, registers: Sequence[int]) -> list[str]:
        """Return the names of the measurements that are out of range. registers: as for `decode`."""
        start = self.start
        return [
            m.name
            for m in self.measurements
            if m.limited and not m.in_range(registers[m.address - start : m.end - start])
        ]

    def encode(self, values: Mapping[str, float]) -> list[int]:
        """Return the registers of the whole span; gaps and measurements without a value are 0."""
        registers = [0] * self.quantity
        start = self.start
        for measurement in self.measurements:
            if measurement.name in values:
                encoded = measurement.encode(values[measurement.name])
                registers[measurement.address - start : measurement.end - start] = encoded
        return registers


@lru_cache(maxsize=4096)
def _stored_limits(
    kind: DataType, scale: float, offset: float, minimum: float | None, maximum: float | None
) -> tuple[float, float]:
    """Return the lowest and the highest stored number of a range; an infinity for no limit."""

    def exact(limit: float) -> Decimal:
        return _EXACT.multiply(_EXACT.subtract(_decimal(limit), _decimal(offset)), _decimal(scale))

    low, high = -math.inf, math.inf
    if minimum is not None:
        stored = exact(minimum)
        low = int(stored.to_integral_value(ROUND_CEILING)) if kind.integral else kind.nearest(float(stored))
    if maximum is not None:
        stored = exact(maximum)
        high = int(stored.to_integral_value(ROUND_FLOOR)) if kind.integral else kind.nearest(float(stored))
    return low, high


@lru_cache(maxsize=4096)
def _no_value_number(kind: DataType, sentinel: float | None, no_value: bool | None) -> float | None:
    if kind.sentinel is None or not (kind.has_no_value if no_value is None else no_value):
        return None
    return kind.nearest(kind.sentinel if sentinel is None else sentinel)


def _decimal(number: float) -> Decimal:
    # By its shortest text: the number that stands in the configuration.
    return Decimal(str(number))


def _meaning(measurement: Measurement) -> tuple[float, float, str, str]:
    scale, offset = float(measurement.scale), float(measurement.offset)
    return scale, offset, measurement.unit, measurement.word_order.value


PV_MAP = RegisterMap(
    (
        Measurement("P_ac", 0, unit="W", minimum=0, maximum=20000),
        Measurement("P_dc", 1, unit="W", minimum=0, maximum=20000),
        Measurement("V_dc", 2, scale=10, unit="V", decimals=2, minimum=0, maximum=1500),
        Measurement("I_dc", 3, scale=100, unit="A", decimals=2, minimum=0, maximum=200),
        Measurement("G", 4, unit="W/m²", minimum=0, maximum=1600),
        Measurement("T_cell", 5, scale=10, unit="°C", minimum=0, maximum=100),
        Measurement("Timestamp", 6, type=DataType.TIMESTAMP),
    )
)
"""The map that the ESP32 and the Opta share unless the configuration names another."""
