"""Function codes on a bank of registers. Pure: a request ADU in, a reply ADU and events out.

What is wrong with a request is looked for in the order of the specification's state diagrams: the function
code (exception 01), the lengths and quantities (03), the addresses (02), the device itself (0B).

Chapters in the comments are those of the Modbus Application Protocol Specification V1.1b3.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from smart_meter.modbus.adu import FUNCTION, UNIT
from smart_meter.modbus.identification import MEI_TYPE, Identification, ReadDeviceId

MAX_READ_REGISTERS = 125  # 6.3, 6.4, and 6.17 for its reading half
MAX_WRITE_REGISTERS = 123  # 6.12
MAX_READ_WRITE_REGISTERS = 121  # 6.17: its writing half
RETURN_QUERY_DATA = 0  # 6.8.1: the only sub-function of 08 that has a meaning without a serial line
EXCEPTION_FLAG = 0x80  # 7: an exception reply has the request's function code with this bit set


class FunctionCode(enum.IntEnum):
    """The function codes that are answered (6)."""

    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_SINGLE_REGISTER = 6
    DIAGNOSTICS = 8
    WRITE_MULTIPLE_REGISTERS = 16
    MASK_WRITE_REGISTER = 22
    READ_WRITE_MULTIPLE_REGISTERS = 23
    ENCAPSULATED_INTERFACE_TRANSPORT = 43


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


Events = tuple[object, ...]
"""What happened to a bank; what the events are is the bank's business."""
Result = tuple[bytes, Events]
"""A reply ADU, and what happened."""
_NO_EVENTS: Events = ()
_NAMELESS = Identification({0: "", 1: "", 2: ""})


class Bank:
    """Holding registers from `start` up to `end` (not included), two bytes each, in wire order.

    It also has input registers, from 0 on, and the device's identification.
    """

    __slots__ = ("end", "failure", "identification", "inputs", "start", "view")

    def __init__(self, start: int, quantity: int, identification: Identification = _NAMELESS) -> None:
        self.identification = identification
        self.start = start
        self.end = start + quantity
        self.view = bytes(2 * quantity)
        """What is read."""
        self.failure = 0
        """The exception code with which holding registers are not read; 0: they are."""
        self.inputs = b""

    def write(
        self, address: int, values: bytes, now: float, *, source: Any = None, then_read: bool = False
    ) -> tuple[int, Events]:
        """Store registers that lie in the bank; return 0, or the exception code if nothing is stored.

        With it comes what happened. now: monotonic seconds. source: who writes; what it is is the bank's
        business. then_read: whether the same request reads registers afterwards; they are stored only if it
        can.
        """
        if then_read and self.failure:
            return self.failure, _NO_EVENTS
        first = 2 * (address - self.start)
        self.view = self.view[:first] + values + self.view[first + len(values) :]
        return 0, _NO_EVENTS

    def mask(
        self, address: int, keep: int, bits: int, now: float, *, source: Any = None
    ) -> tuple[int, Events]:
        """Store a register of which the bits of `keep` stay and the others are those of `bits`.

        The rest is as with `write`.
        """
        [held] = struct.unpack_from(">H", self.view, 2 * (address - self.start))
        return self.write(address, (held & keep | bits & ~keep).to_bytes(2), now, source=source)

    def input_registers(self, now: float) -> bytes:
        """Return the input registers, from 0 on, in wire order. now: monotonic seconds."""
        return self.inputs

    def registers(self) -> tuple[int, ...]:
        """Return the value of every register."""
        return struct.unpack(f">{len(self.view) // 2}H", self.view)


_TWO_WORDS = struct.Struct(">HH")
_FOUR_WORDS = struct.Struct(">4H")


def exception(request: bytes, code: int) -> bytes:
    """Return the exception reply to a request."""
    return request[:4] + bytes((0, 3, request[UNIT], request[FUNCTION] | EXCEPTION_FLAG, code))


def read_holding_registers(bank: Bank, request: bytes, now: float, source: Any = None) -> Result:
    """Carry out function code 03 (6.3)."""
    if len(request) != 12:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    address, quantity = _TWO_WORDS.unpack_from(request, 8)
    if not 1 <= quantity <= MAX_READ_REGISTERS:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    if address < bank.start or address + quantity > bank.end:
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS), _NO_EVENTS
    if bank.failure:
        return exception(request, bank.failure), _NO_EVENTS
    first = 2 * (address - bank.start)
    return _registers_reply(request, bank.view[first : first + 2 * quantity]), _NO_EVENTS


def read_input_registers(bank: Bank, request: bytes, now: float, source: Any = None) -> Result:
    """Carry out function code 04 (6.4)."""
    if len(request) != 12:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    address, quantity = _TWO_WORDS.unpack_from(request, 8)
    if not 1 <= quantity <= MAX_READ_REGISTERS:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    first, last = 2 * address, 2 * (address + quantity)
    inputs = bank.input_registers(now)
    if last > len(inputs):
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS), _NO_EVENTS
    return _registers_reply(request, inputs[first:last]), _NO_EVENTS


def _registers_reply(request: bytes, values: bytes) -> bytes:
    size = len(values)
    # The request's own header up to the length's high byte, which is 0 in every frame that is let in.
    return request[:5] + bytes((size + 3, request[UNIT], request[FUNCTION], size)) + values


def write_single_register(bank: Bank, request: bytes, now: float, source: Any = None) -> Result:
    """Carry out function code 06 (6.6): the reply is the request."""
    if len(request) != 12:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    address, _ = _TWO_WORDS.unpack_from(request, 8)
    if not bank.start <= address < bank.end:
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS), _NO_EVENTS
    code, events = bank.write(address, request[10:12], now, source=source)
    return exception(request, code) if code else request, events


def write_multiple_registers(bank: Bank, request: bytes, now: float, source: Any = None) -> Result:
    """Carry out function code 16 (6.12)."""
    if len(request) < 13:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    address, quantity = _TWO_WORDS.unpack_from(request, 8)
    size = 2 * quantity
    if not 1 <= quantity <= MAX_WRITE_REGISTERS or request[12] != size or len(request) != 13 + size:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    if address < bank.start or address + quantity > bank.end:
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS), _NO_EVENTS
    code, events = bank.write(address, request[13:], now, source=source)
    return exception(request, code) if code else request[:4] + b"\x00\x06" + request[6:12], events


def whole_write_head(start: int, quantity: int) -> bytes:
    """Return what lies between unit identifier and values when function code 16 writes a whole bank (6.12).

    Empty if one request can't carry so many registers.
    """
    if quantity > MAX_WRITE_REGISTERS:
        return b""
    return struct.pack(">BHHB", FunctionCode.WRITE_MULTIPLE_REGISTERS, start, quantity, 2 * quantity)


def mask_write_register(bank: Bank, request: bytes, now: float, source: Any = None) -> Result:
    """Carry out function code 22 (6.16): the bits of the AND mask are kept, the others are the OR mask's."""
    if len(request) != 14:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    address = request[8] << 8 | request[9]
    if not bank.start <= address < bank.end:
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS), _NO_EVENTS
    keep, bits = _TWO_WORDS.unpack_from(request, 10)
    code, events = bank.mask(address, keep, bits, now, source=source)
    return exception(request, code) if code else request, events


def read_write_multiple_registers(bank: Bank, request: bytes, now: float, source: Any = None) -> Result:
    """Carry out function code 23 (6.17): the write comes before the read, and neither without the other.

    Where the reply is an exception, nothing was written.
    """
    if len(request) < 17:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    read_address, read_quantity, address, quantity = _FOUR_WORDS.unpack_from(request, 8)
    size = 2 * quantity
    if (
        not 1 <= read_quantity <= MAX_READ_REGISTERS
        or not 1 <= quantity <= MAX_READ_WRITE_REGISTERS
        or request[16] != size
        or len(request) != 17 + size
    ):
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    if (
        read_address < bank.start
        or read_address + read_quantity > bank.end
        or address < bank.start
        or address + quantity > bank.end
    ):
        return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS), _NO_EVENTS
    code, events = bank.write(address, request[17:], now, source=source, then_read=True)
    if code:
        return exception(request, code), events
    first = 2 * (read_address - bank.start)
    return _registers_reply(request, bank.view[first : first + 2 * read_quantity]), events


def diagnostics(_: Bank, request: bytes, now: float, source: Any = None) -> Result:
    """Carry out function code 08 with sub-function 00 (6.8): the reply is the request, however long."""
    if len(request) < 10:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    if request[8] << 8 | request[9] != RETURN_QUERY_DATA:
        return exception(request, ExceptionCode.ILLEGAL_FUNCTION), _NO_EVENTS
    return request, _NO_EVENTS


def encapsulated_interface_transport(bank: Bank, request: bytes, now: float, source: Any = None) -> Result:
    """Carry out function code 43 with MEI type 14, Read Device Identification (6.21)."""
    if len(request) < 9:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    if request[8] != MEI_TYPE:
        return exception(request, ExceptionCode.ILLEGAL_FUNCTION), _NO_EVENTS
    if len(request) != 11 or not ReadDeviceId.BASIC <= request[9] <= ReadDeviceId.INDIVIDUAL:
        return exception(request, ExceptionCode.ILLEGAL_DATA_VALUE), _NO_EVENTS
    access, number = ReadDeviceId(request[9]), request[10]
    if access is ReadDeviceId.INDIVIDUAL:
        objects = bank.identification.one(number)
        if objects is None:
            return exception(request, ExceptionCode.ILLEGAL_DATA_ADDRESS), _NO_EVENTS
    else:
        objects = bank.identification.stream(access, number)
    return request[:5] + bytes((2 + len(objects), request[UNIT], request[FUNCTION])) + objects, _NO_EVENTS


Span = Callable[[bytes], tuple[int, int]]
"""Finds the starting address and the quantity in a request that was carried out."""


def _span(request: bytes) -> tuple[int, int]:
    return _TWO_WORDS.unpack_from(request, 8)


def _one_register(request: bytes) -> tuple[int, int]:
    return request[8] << 8 | request[9], 1


def _second_span(request: bytes) -> tuple[int, int]:
    return _TWO_WORDS.unpack_from(request, 12)


class Execute(Protocol):
    """What carries out a function code."""

    def __call__(self, bank: Bank, request: bytes, now: float, source: Any = None, /) -> Result:
        """Carry out a request on a bank. now: monotonic seconds. source: who sent it."""


class Function(NamedTuple):
    """How a function code is carried out, and which registers it reads and writes: None where it does not."""

    execute: Execute
    reads: Span | None = None
    writes: Span | None = None


FUNCTIONS: dict[int, Function] = {
    FunctionCode.READ_HOLDING_REGISTERS: Function(read_holding_registers, reads=_span),
    FunctionCode.READ_INPUT_REGISTERS: Function(read_input_registers, reads=_span),
    FunctionCode.WRITE_SINGLE_REGISTER: Function(write_single_register, writes=_one_register),
    FunctionCode.DIAGNOSTICS: Function(diagnostics),
    FunctionCode.WRITE_MULTIPLE_REGISTERS: Function(write_multiple_registers, writes=_span),
    FunctionCode.MASK_WRITE_REGISTER: Function(mask_write_register, writes=_one_register),
    FunctionCode.READ_WRITE_MULTIPLE_REGISTERS: Function(
        read_write_multiple_registers, reads=_span, writes=_second_span
    ),
    FunctionCode.ENCAPSULATED_INTERFACE_TRANSPORT: Function(encapsulated_interface_transport),
}
"""All other function codes get exception 01."""
