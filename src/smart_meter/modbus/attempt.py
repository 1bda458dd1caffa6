"""What a request asks for, as far as it can be read: for the lines about requests that are refused. Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple

from smart_meter.modbus.adu import FUNCTION, UNIT

WRITES = frozenset({5, 6, 15, 16, 22, 23})
"""The function codes that write, those that are not supported among them."""
_READS = frozenset({1, 2, 3, 4})
_KNOWN = WRITES | _READS
_ONE = frozenset({5, 6, 22})
_NOUNS = {1: "coil", 2: "discrete input", 4: "input register", 5: "coil", 15: "coil"}
_TWO_WORDS = struct.Struct(">HH")
_READ_WRITE = 23


class Attempt(NamedTuple):
    """What a request asks for; of a read with a write, what it writes."""

    unit: int
    function: int
    address: int | None
    """The first register; None: there is none, or the request is too short for it."""
    quantity: int | None

    @property
    def writes(self) -> bool:
        """Whether the function writes."""
        return self.function in WRITES

    @property
    def span(self) -> str:
        """Return the registers, such as `registers 1-8 of unit 1`; without them if it is not known which."""
        of = f"unit {self.unit}"
        if self.address is None or self.quantity is None:
            return of
        noun = _NOUNS.get(self.function, "register")
        if self.quantity == 1:
            return f"{noun} {self.address} of {of}"
        last = self.address + self.quantity - 1
        return f"{noun}s {self.address}-{last} of {of}" if self.quantity else f"0 {noun}s of {of}"

    def __str__(self) -> str:
        """Return it for people: `wrote registers 1-8 of unit 1 with function 16`."""
        by = f"with function {self.function}"
        if self.function not in _KNOWN:
            return f"addressed {self.span} {by}"
        if self.address is None:
            return f"sent an incomplete {'write' if self.writes else 'read'} to {self.span} {by}"
        return f"{'wrote' if self.writes else 'read'} {self.span} {by}"


def attempt(request: bytes) -> Attempt:
    """Return what a request ADU asks for, however short its PDU is."""
    unit, function = request[UNIT], request[FUNCTION]
    start = 12 if function == _READ_WRITE else 8
    if function not in _KNOWN or len(request) < start + 4:
        return Attempt(unit, function, None, None)
    address, quantity = _TWO_WORDS.unpack_from(request, start)
    return Attempt(unit, function, address, 1 if function in _ONE else quantity)
