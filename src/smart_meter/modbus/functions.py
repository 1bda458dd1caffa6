"""Function codes on a bank of holding registers. Pure: a request ADU in, a reply ADU out.

Chapters in the comments are those of the Modbus Application Protocol Specification V1.1b3.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass

from smart_meter.modbus.adu import FUNCTION, UNIT

MAX_READ_REGISTERS = 125  # 6.3
MAX_WRITE_REGISTERS = 123  # 6.12
EXCEPTION_FLAG = 0x80  # 7: an exception reply has the request's function code with this bit set


class FunctionCode(enum.IntEnum):
    """The function codes that are answered (6)."""

    READ_HOLDING_REGISTERS = 3
    WRITE_SINGLE_REGISTER = 6
    WRITE_MULTIPLE_REGISTERS = 16


class ExceptionCode(enum.IntEnum):
    """Why a request was not carried out (7)."""

    ILLEGAL_FUNCTION = 0x01
    ILLEGAL_DATA_ADDRESS = 0x02
    ILLEGAL_DATA_VALUE = 0x03
    SERVER_DEVICE_FAILURE = 0x04
    ACKNOWLEDGE = 0x05
    SERVER_DEVICE_BUSY = 0x06
    MEMORY_PARITY_ERROR = 0x08
    GATEWAY_PATH_UNAVAILABLE = 0x0A
    GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND = 0x0B


class Bank:
    """Holding registers from `start` up to `end` (not included), two bytes each, in wire order."""

    __slots__ = ("data", "end", "start")

    def __init__(self, start: int, quantity: int) -> None:
        self.start = start
        self.end = start + quantity
        self.data = bytearray(2 * quantity)

    def registers(self) -> tuple[int, ...]:
        """Return the value of every register."""
        return struct.unpack(f">{len(self.data) // 2}H", self.data)


_TWO_WORDS = struct.Struct(">HH")


def exception(request: bytes, code: int) -> bytes:
    """Return the exception reply to a request."""
    return request[:4] + bytes((0, 3, request[UNIT], request[FUNCTION] | EXCEPTION_FLAG, code))


def addressed(request: bytes) -> tuple[int, int]:
    """Return the starting address and the number of registers of a request that was carried out."""
    address, quantity = _TWO_WORDS.unpack_from(request, 8)
    return address, 1 if request[FUNCTION] == FunctionCode.WRITE_SINGLE_REGISTER else quantity


def read_holding_registers(bank: Bank, request: bytes) -> bytes:
    """Carry out function code 03 (6.3)."""
    if len(request) != 12:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE)
    address, quantity = _TWO_WORDS.unpack_from(request, 8)
    if not 1 <= quantity <= MAX_READ_REGISTERS:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE)
    if address < bank.start or address + quantity > bank.end:
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS)
    size = 2 * quantity
    first = 2 * (address - bank.start)
    # The request's own header up to the length's high byte, which is 0 in every frame that is let in.
    head = request[:5] + bytes((size + 3, request[UNIT], FunctionCode.READ_HOLDING_REGISTERS, size))
    return head + bank.data[first : first + size]


def write_single_register(bank: Bank, request: bytes) -> bytes:
    """Carry out function code 06 (6.6): the reply is the request."""
    if len(request) != 12:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE)
    address, _ = _TWO_WORDS.unpack_from(request, 8)
    if not bank.start <= address < bank.end:
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS)
    first = 2 * (address - bank.start)
    bank.data[first : first + 2] = request[10:12]
    return request


def write_multiple_registers(bank: Bank, request: bytes) -> bytes:
    """Carry out function code 16 (6.12)."""
    if len(request) < 13:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE)
    address, quantity = _TWO_WORDS.unpack_from(request, 8)
    size = 2 * quantity
    if not 1 <= quantity <= MAX_WRITE_REGISTERS or request[12] != size or len(request) != 13 + size:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE)
    if address < bank.start or address + quantity > bank.end:
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS)
    first = 2 * (address - bank.start)
    bank.data[first : first + size] = request[13:]
    return request[:4] + b"\x00\x06" + request[6:12]


@dataclass(frozen=True, slots=True)
class Function:
    """How a function code is carried out, and whether it changes registers."""

    execute: Callable[[Bank, bytes], bytes]
    writes: bool


FUNCTIONS: dict[int, Function] = {
    FunctionCode.READ_HOLDING_REGISTERS: Function(read_holding_registers, writes=False),
    FunctionCode.WRITE_SINGLE_REGISTER: Function(write_single_register, writes=True),
    FunctionCode.WRITE_MULTIPLE_REGISTERS: Function(write_multiple_registers, writes=True),
}
"""All other function codes get exception 01."""
