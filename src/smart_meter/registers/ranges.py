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
        bounds = {m.address: (m, _bounds(m)) for _, m in self._limited}
        together = [(m, bound) for _, (m, bound) in sorted(bounds.items()) if bound is not None]
        self._unpack = struct.Struct("".join(_layout(register_map, [m for m, _ in together]))).unpack
        self._highs = [high for _, (_, high) in together]
        lows = [low for _, (low, _) in together]
        self._lows = lows if any(low > _lowest(m) for m, (low, _) in together) else []
        self._others = len(together) < len(self._limited)

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


def _bounds(measurement: Measurement) -> tuple[float, float] | None:
    """Return the lowest and the highest stored number in range; None if two numbers can't describe that.

    It is so for "no value" in the middle of a range, and for a low word that comes first.
    """
    if measurement.word_order is WordOrder.LITTLE and measurement.width > 1:
        return None
    low, high = measurement.stored_limits
    nothing = measurement.no_value_number
    if nothing is None or not low <= nothing <= high:
        return low, high
    limits = measurement.type.limits
    if limits is None or nothing not in limits:
        return None
    return (nothing + 1, high) if nothing == limits[0] else (low, nothing - 1)


def _lowest(measurement: Measurement) -> float:
    limits = measurement.type.limits
    return limits[0] if limits else -math.inf
