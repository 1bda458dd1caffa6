"""Which registers of a map's span belong to measurements, and the span without the others. Pure."""

from __future__ import annotations

from smart_meter.registers.register_map import RegisterMap


class Layout:
    """A map's registers in the order of their addresses, without the gaps between measurements."""

    def __init__(self, register_map: RegisterMap) -> None:
        addresses = sorted(register_map.addresses)
        start = register_map.start
        self.index = {address: number for number, address in enumerate(addresses)}
        """Each register's place among those that belong to a measurement, by its address."""
        self.span_size = 2 * register_map.quantity
        """Bytes of the whole span."""
        self.size = 2 * len(addresses)
        """Bytes without the gaps."""
        runs: list[tuple[int, int]] = []
        for address in addresses:
            first = 2 * (address - start)
            if runs and runs[-1][1] == first:
                runs[-1] = (runs[-1][0], first + 2)
            else:
                runs.append((first, first + 2))
        self._runs = runs

    @property
    def has_gaps(self) -> bool:
        """Return whether registers in the span belong to no measurement."""
        return len(self._runs) > 1

    def pack(self, span: bytes) -> bytes:
        """Return the measurements' registers of a whole span."""
        return b"".join([span[first:end] for first, end in self._runs])

    def unpack(self, packed: bytes) -> bytes:
        """Return the whole span; registers in gaps are 0. Raises ValueError for another length."""
        if len(packed) != self.size:
            raise ValueError(f"the map has {self.size} bytes of registers, not {len(packed)}")
        span = bytearray(self.span_size)
        place = 0
        for first, end in self._runs:
            span[first:end] = packed[place : place + end - first]
            place += end - first
        return bytes(span)
