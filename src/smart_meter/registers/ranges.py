"""Which measurements of a sample are out of range: the whole map in one pass, by stored numbers. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from operator import ge, le

from smart_meter.registers.register_map import Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder


class MapRanges:
    """The ranges of a map's measurements.

    Nearly every sample is in range, so the hot path only finds that out: it unpacks the stored numbers at
    once and compares each with its highest, and with its lowest only if the data type can store less.
    """

    __slots__ = ("_highs", "_limited", "_lows", "_others", "_start", "_unpack")

    def __init__(self, register_map: RegisterMap) -> None:
        self._start = register_map.start
        self._limited = [(i, m) for i, m in enumerate(register_map.measurements) if m.limited]
        together = [m for _, m in self._limited if m.width == 1 or m.word_order is WordOrder.BIG]
        together.sort(key=lambda m: m.address)
        self._unpack = struct.Struct("".join(_layout(register_map, together))).unpack
        self._highs = [m.stored_limits[1] for m in together]
        lows = [m.stored_limits[0] for m in together]
        self._lows = lows if any(map(_can_be_below, together)) else []
        self._others = [m for _, m in self._limited if m not in together]

    def __bool__(self) -> bool:
        """Whether a value can be out of range."""
        return bool(self._limited)

    def out_of_range(self, image: bytes | bytearray) -> int:
        """Return a number whose bit i is set if measurement i of the map is out of range.

        image: every register of the map's span, in wire order.
        """
        numbers = self._unpack(image)
        # Not-a-number is neither over nor under a limit, so it fails both comparisons.
        if False in map(ge, self._highs, numbers) or (self._lows and False in map(le, self._lows, numbers)):
            return self._bits(image)
        return self._bits(image) if self._others else 0

    def _bits(self, image: bytes | bytearray) -> int:
        return sum(1 << i for i, m in self._limited if not m.in_range(self._registers(m, image)))

    def _registers(self, measurement: Measurement, image: bytes | bytearray) -> tuple[int, ...]:
        first = 2 * (measurement.address - self._start)
        return struct.unpack_from(f">{measurement.width}H", image, first)


def _layout(register_map: RegisterMap, measurements: list[Measurement]) -> Iterator[str]:
    """Yield a format of the struct module that unpacks the measurements' stored numbers, by address."""
    yield ">"
    place = register_map.start
    for measurement in measurements:
        yield f"{2 * (measurement.address - place)}x{measurement.type.layout[1:]}"
        place = measurement.end
    yield f"{2 * (register_map.end - place)}x"


def _can_be_below(measurement: Measurement) -> bool:
    """Whether the data type can store a number under the measurement's lowest."""
    limits = measurement.type.limits
    return measurement.stored_limits[0] > (limits[0] if limits else -math.inf)
