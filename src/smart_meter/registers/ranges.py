"""Which measurements of a sample are out of range: the whole map in one pass, by stored numbers. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from operator import ge, le

from smart_meter.registers.register_map import Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder

_MAX_ADDED = 125
"""Registers up to which one addition is faster than a comparison of each value."""
_number = int.from_bytes


class MapRanges:
    """The ranges of a map's measurements.

    Nearly every sample is in range, so the hot path only finds that out. Most maps need one addition for
    it, see `_top_bits`. For the others it unpacks the stored numbers at once and compares each with its
    highest, and with its lowest only if the data type can store less.
    """

    __slots__ = (
        "_can_be_below",
        "_flags",
        "_highs",
        "_lows",
        "_others",
        "_room",
        "_start",
        "_top",
        "_unpack",
    )

    def __init__(self, register_map: RegisterMap) -> None:
        self._start = register_map.start
        limited = [(i, m) for i, m in enumerate(register_map.measurements) if m.limited]
        limited.sort(key=lambda one: one[1].address)
        together = [(i, m, bounds) for i, m in limited if (bounds := _bounds(m)) is not None]
        self._unpack = struct.Struct("".join(_layout(register_map, [m for _, m, _ in together]))).unpack
        self._flags = [1 << i for i, _, _ in together]
        self._lows = [low for _, _, (low, _) in together]
        self._highs = [high for _, _, (_, high) in together]
        self._can_be_below = any(low > _lowest(m) for _, m, (low, _) in together)
        self._room, self._top = _top_bits(register_map, together)
        self._others = [(1 << i, m) for i, m in limited if _bounds(m) is None]

    def __bool__(self) -> bool:
        """Whether a value can be out of range."""
        return bool(self._flags or self._others)

    def out_of_range(self, image: bytes | bytearray) -> int:
        """Return a number whose bit i is set if measurement i of the map is out of range.

        image: every register of the map's span, in wire order.
        """
        if self._top:
            registers = _number(image)
            if not (registers | registers + self._room) & self._top:
                return self._bits_of_others(image) if self._others else 0
        numbers = self._unpack(image)
        # Not-a-number is neither over nor under a limit, so it fails both comparisons.
        if False in map(ge, self._highs, numbers) or (
            self._can_be_below and False in map(le, self._lows, numbers)
        ):
            bits = sum(
                flag
                for flag, low, number, high in zip(self._flags, self._lows, numbers, self._highs, strict=True)
                if not low <= number <= high
            )
        else:
            bits = 0
        return bits + self._bits_of_others(image) if self._others else bits

    def _bits_of_others(self, image: bytes | bytearray) -> int:
        return sum(flag for flag, m in self._others if not m.in_range(self._registers(m, image)))

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


def _top_bits(
    register_map: RegisterMap, limited: list[tuple[int, Measurement, tuple[float, float]]]
) -> tuple[int, int]:
    """Return a number to add to all registers of the map as one number, and the top bit of each value.

    A value above its highest has its top bit, or gets it by the sum: what is added is the difference between
    its highest and the largest number without the top bit. So no sum carries into the next value, unless a
    top bit was set before. limited: index, measurement, and lowest and highest stored number.

    Both are 0 for a map with another kind of range: of a signed type, for example.
    """
    room = top = 0
    for _, measurement, (low, high) in limited:
        half = 1 << 16 * measurement.width - 1
        if not measurement.type.integral or _lowest(measurement) < max(low, 0) or not 0 <= high < half:
            return 0, 0
        shift = 16 * (register_map.end - measurement.end)
        top |= half << shift
        room |= half - 1 - int(high) << shift
    return (room, top) if register_map.quantity <= _MAX_ADDED else (0, 0)


def _lowest(measurement: Measurement) -> float:
    limits = measurement.type.limits
    return limits[0] if limits else -math.inf
