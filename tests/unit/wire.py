"""Frames for the tests: written in hexadecimal, as they stand on the wire."""

import struct

from smart_meter.modbus.connection_state import Held

SAMPLE_REGISTERS = (250, 260, 485, 536, 850, 456, 0x5686, 0x15E0)
"""One sample of the PV map, measured at 2016-01-01T06:00:00+00:00."""


def wire(text: str) -> bytes:
    return bytes.fromhex(text)


def adu(unit: int, pdu: bytes, transaction: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def read(address: int, quantity: int, unit: int = 1, transaction: int = 1) -> bytes:
    return adu(unit, struct.pack(">BHH", 3, address, quantity), transaction)


def write_one(address: int, value: int, unit: int = 1) -> bytes:
    return adu(unit, struct.pack(">BHH", 6, address, value))


def write(address: int, registers: tuple[int, ...] = SAMPLE_REGISTERS, unit: int = 1) -> bytes:
    values = struct.pack(f">{len(registers)}H", *registers)
    return adu(unit, struct.pack(">BHHB", 16, address, len(registers), len(values)) + values)


def answer(unit: int, registers: tuple[int, ...], transaction: int = 1) -> bytes:
    values = struct.pack(f">{len(registers)}H", *registers)
    return adu(unit, struct.pack(">BB", 3, len(values)) + values, transaction)


def sent(reply: bytes | Held) -> bytes:
    """Return a reply that is not held."""
    assert isinstance(reply, bytes)
    return reply
