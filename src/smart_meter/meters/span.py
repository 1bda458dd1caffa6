"""A register map as bytes: the registers from the first to the last in wire order, gaps as 0. Pure."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping

from smart_meter.registers.ranges import MapRanges
from smart_meter.registers.register_map import Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder

_UINT32 = struct.Struct(">I")
_WORDS = struct.Struct(">HH")
_put_word = struct.Struct(">H").pack_into


class Span:
    """The bytes of one map: finds, merges and judges its values in them."""

    __slots__ = (
        "_indexes",
        "_map",
        "_map_bits",
        "_start",
        "_timestamp_place",
        "addresses",
        "limited",
        "out_of_range",
        "sentinels",
        "size",
        "values",
    )

    def __init__(self, register_map: RegisterMap) -> None:
        measurements = register_map.measurements
        self._map = register_map
        self._start = register_map.start
        self.size = 2 * register_map.quantity
        """How many bytes the span has."""
        self.addresses = register_map.addresses
        """The registers that belong to a measurement."""
        self.values = {a: range(m.address, m.end) for m in measurements for a in range(m.address, m.end)}
        """By each of them, those of its measurement."""
        self.limited = tuple(measurement for measurement in measurements if measurement.limited)
        """The measurements that have a minimum or a maximum."""
        self.out_of_range = MapRanges(register_map).out_of_range
        """Returns which measurements of an image are out of range: bit i is the map's measurement i."""
        self._indexes = [index for index, measurement in enumerate(measurements) if measurement.limited]
        self.sentinels: dict[int, int] = {}
        """The registers of each measurement's "no value", by address."""
        for measurement in measurements:
            self.sentinels.update(enumerate(measurement.sentinel_registers() or [], measurement.address))
        timestamp = register_map.timestamp
        self._timestamp_place = (
            None
            if timestamp is None
            else (2 * (timestamp.address - register_map.start), timestamp.word_order is WordOrder.BIG)
        )
        """The timestamp's first byte, and whether its high word comes first."""
        self._map_bits = self._bits() if len(self.addresses) < register_map.quantity else None

    def _bits(self) -> int:
        """Return the bits of the registers that belong to the map, as one number."""
        span = range(self._start, self._map.end)
        return int.from_bytes(b"".join(b"\xff\xff" if a in self.addresses else b"\0\0" for a in span))

    @property
    def gappy(self) -> bool:
        """Whether there are registers between the measurements."""
        return self._map_bits is not None

    def without_gaps(self, image: bytes) -> bytes:
        """Return an image with 0 in the gaps."""
        bits = self._map_bits
        return image if bits is None else (int.from_bytes(image) & bits).to_bytes(len(image))

    def in_map(self, address: int, values: bytes) -> dict[int, int]:
        """Return the registers of the map in a write, by their addresses. values: all that it sets."""
        if len(values) == 2:
            # This is the hot path of writers that send register by register.
            return {address: int.from_bytes(values)} if address in self.addresses else {}
        return {a: value for a, value in enumerate(self.registers(values), address) if a in self.addresses}

    def registers(self, image: bytes) -> tuple[int, ...]:
        """Return every register of an image."""
        return struct.unpack(f">{len(image) // 2}H", image)

    def register(self, image: bytes, address: int) -> int:
        """Return one register of an image."""
        first = 2 * (address - self._start)
        return int.from_bytes(image[first : first + 2])

    def merged(self, image: bytes, registers: Mapping[int, int]) -> bytes:
        """Return an image with other registers in it, by their addresses."""
        merged, start = bytearray(image), self._start
        for address, value in registers.items():
            _put_word(merged, 2 * (address - start), value)
        return bytes(merged)

    def first_out_of_range(self, image: bytes, written: Collection[int]) -> tuple[Measurement, float] | None:
        """Return the first measurement that is out of range, and its value; None if none is.

        written: the registers that count; a measurement is judged if all of its own do. "No value" is not
        returned: it is in no range, and not a value either.
        """
        bits = self.out_of_range(image)
        for index, measurement in zip(self._indexes, self.limited, strict=True):
            own = range(measurement.address, measurement.end)
            if bits >> index & 1 and all(address in written for address in own):
                registers = self._registers_of(measurement, image)
                if not measurement.is_no_value(registers):
                    return measurement, measurement.decode(registers)
        return None

    def timestamp(self, image: bytes) -> int | None:
        """Return the Unix seconds of the map's timestamp in an image; None: there is none."""
        place = self._timestamp_place
        if place is None:
            return None
        offset, big = place
        # This is the hot path of every write: `Measurement.decode` takes several times as long.
        if big:
            return _UINT32.unpack_from(image, offset)[0]  # type: ignore[no-any-return]  # struct has no types
        low, high = _WORDS.unpack_from(image, offset)
        return high << 16 | low  # type: ignore[no-any-return]  # as above

    def _registers_of(self, measurement: Measurement, image: bytes) -> tuple[int, ...]:
        first = 2 * (measurement.address - self._start)
        return struct.unpack_from(f">{measurement.width}H", image, first)
