"""Our answers held against those of pymodbus's PDU classes on the same registers, for any function code."""

import struct
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.device import ModbusControlBlock
from pymodbus.pdu.diag_message import ReturnQueryDataRequest
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from smart_meter.modbus.functions import FUNCTIONS, Bank, ExceptionCode, exception
from smart_meter.modbus.identification import Identification
from tests.unit.wire import adu

CLASSES: dict[int, type[ModbusPDU]] = {
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
    6: WriteSingleRegisterRequest,
    8: ReturnQueryDataRequest,
    16: WriteMultipleRegistersRequest,
    22: MaskWriteRegisterRequest,
    23: ReadWriteMultipleRegistersRequest,
    43: ReadDeviceInformationRequest,
}
FIXED_LENGTH = {3: 4, 4: 4, 6: 4, 22: 6, 43: 3}
"""How many bytes follow the function code where it is always the same."""

OBJECTS = {0: "Vendor", 1: "Product", 2: "1.0", 4: "Name", 6: "Application", 0x80: "0123abcd", 0xFF: "last"}
LONG_OBJECTS = {**OBJECTS, 4: "N" * 120, 6: "A" * 120}
FULL_OBJECTS = {0: "V", 1: "P" * 237, 2: "1", 4: "N" * 244}
IDENTITIES = (OBJECTS, LONG_OBJECTS, FULL_OBJECTS)

# The differences: what is asked, what pymodbus does, and why we do otherwise, with which exception code.
NOT_OFFERED = (
    "a function code that this device does not have: pymodbus has them all; 6 lets a device choose: 01"
)
NO_FUNCTION = "a function code that nobody has: pymodbus can't decode it; 7 asks for 01"
SUB_FUNCTION = "FC08 but for sub-function 00, FC43 but for MEI type 14: serial-line counters, CANopen: 01"
TOO_SHORT = "the PDU ends before its fields: pymodbus can't decode it; we answer 03"
QUANTITY = (
    "FC03, FC04 or FC23 with a quantity outside its limits: pymodbus refuses to decode it; 6.3, 6.4, 6.17: 03"
)
TRAILING = "bytes behind a PDU of fixed length: pymodbus overlooks them; we answer 03"
DEVICE_ID_CODE = "FC43 with Read Device ID code 0: pymodbus fails with a KeyError; 6.21 asks for 03"
HALF_DONE = "FC23 whose read is outside: pymodbus has written by then; 6.17 looks at both addresses first: 02"
RESTART = (
    "FC43 basic from an object behind the category: pymodbus sends none; 6.21 begins again with the first"
)

OUR_CODE = {
    NOT_OFFERED: ExceptionCode.ILLEGAL_FUNCTION,
    NO_FUNCTION: ExceptionCode.ILLEGAL_FUNCTION,
    SUB_FUNCTION: ExceptionCode.ILLEGAL_FUNCTION,
    TOO_SHORT: ExceptionCode.ILLEGAL_DATA_VALUE,
    QUANTITY: ExceptionCode.ILLEGAL_DATA_VALUE,
    TRAILING: ExceptionCode.ILLEGAL_DATA_VALUE,
    DEVICE_ID_CODE: ExceptionCode.ILLEGAL_DATA_VALUE,
    HALF_DONE: ExceptionCode.ILLEGAL_DATA_ADDRESS,
}


class Registers:
    """What pymodbus's PDU classes ask for registers and give values to."""

    def __init__(self, start: int, values: list[int]) -> None:
        self.start = start
        self.values = values

    def outside(self, address: int, count: int) -> bool:
        return address < self.start or address + count > self.start + len(self.values)

    async def async_getValues(self, _: int, __: int, address: int, count: int) -> list[int] | ExcCodes:  # noqa: N802 - pymodbus's name
        if self.outside(address, count):
            return ExcCodes.ILLEGAL_ADDRESS
        return self.values[address - self.start : address - self.start + count]

    async def async_setValues(self, _: int, __: int, address: int, values: list[int]) -> ExcCodes | None:  # noqa: N802 - pymodbus's name
        if self.outside(address, len(values)):
            return ExcCodes.ILLEGAL_ADDRESS
        self.values[address - self.start : address - self.start + len(values)] = values
        return None


@contextmanager
def identity(objects: dict[int, str]) -> Iterator[None]:
    """Let pymodbus return these objects; it keeps one identity for the whole process."""
    held: dict[int, str] = ModbusControlBlock().Identity.stat_data  # type: ignore[no-untyped-call]  # theirs
    before = dict(held)
    held.clear()
    held.update(objects)
    yield
    held.clear()
    held.update(before)


def finished(coroutine: Coroutine[Any, Any, ModbusPDU]) -> ModbusPDU:
    """Run a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    result: ModbusPDU = end.value.value
    return result


def not_for_it(function: int, body: bytes) -> str | None:
    """Return the difference that keeps pymodbus's class from being asked at all."""
    if function not in CLASSES:
        known = DecodePDU(True).pdu_table.get(function)
        return NOT_OFFERED if known else NO_FUNCTION
    sub_function = {8: b"\0\0", 43: b"\x0e"}.get(function)
    if sub_function and len(body) >= len(sub_function) and not body.startswith(sub_function):
        return SUB_FUNCTION
    if len(body) > FIXED_LENGTH.get(function, 252):
        return TRAILING
    return None


def decoded(function: int, body: bytes) -> ModbusPDU | str:
    """pymodbus's request, or which of the differences applies."""
    difference = not_for_it(function, body)
    if difference:
        return difference
    request = CLASSES[function]()
    try:
        request.decode(body)
    except struct.error:
        return TOO_SHORT
    except ValueError:
        return QUANTITY
    return request


def oracle(function: int, body: bytes, registers: Registers, objects: dict[int, str]) -> bytes | str:
    """pymodbus's reply PDU, or which of the differences applies."""
    request = decoded(function, body)
    if isinstance(request, str):
        return request
    before = list(registers.values)
    with identity(objects):
        try:
            reply = finished(request.datastore_update(registers, 1))  # type: ignore[arg-type]  # a fake of its context
        except KeyError:
            return DEVICE_ID_CODE
    if function == 23 and reply.isError() and registers.values != before:
        registers.values[:] = before
        return HALF_DONE
    pdu = bytes([reply.function_code]) + reply.encode()
    return RESTART if function == 43 and not reply.isError() and pdu[6] == 0 else pdu


words = st.integers(0, 0xFFFF)
near = st.integers(0, 260) | words
masks = st.sampled_from([0, 0xFFFF, 0xFF00, 0x00FF]) | words


def pack(*fields: int) -> bytes:
    return struct.pack(f">{len(fields)}H", *fields)


@st.composite
def values(draw: st.DrawFn, most: int) -> bytes:
    """Quantity, byte count and values of a write: they fit together, or nearly."""
    written = draw(st.lists(words, max_size=most))
    quantity = draw(st.just(len(written)) | near)
    size = draw(st.just(2 * len(written)) | st.integers(0, 255))
    return pack(quantity) + bytes((size,)) + pack(*written)


BODIES = {
    3: st.builds(pack, near, near),
    4: st.builds(pack, near, near),
    6: st.builds(pack, near, words),
    8: st.builds(lambda sub, data: pack(sub) + data, st.just(0) | near, st.binary(max_size=250)),
    16: st.builds(lambda address, rest: pack(address) + rest, near, values(123)),
    22: st.builds(pack, near, masks, masks),
    23: st.builds(lambda a, q, w, rest: pack(a, q, w) + rest, near, near, near, values(121)),
    43: st.builds(
        lambda mei, access, number: bytes((mei, access, number)),
        st.just(14) | st.integers(0, 255),
        st.integers(0, 5) | st.integers(0, 255),
        st.integers(0, 8) | st.integers(0x7F, 0x82) | st.integers(0, 255),
    ),
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[int, bytes]:
    """A function code and what follows it: right, nearly right, or anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(sorted(CLASSES)) | st.integers(0, 255)), draw(st.binary(max_size=252))
    function = draw(st.sampled_from(sorted(CLASSES)))
    body = draw(BODIES[function])
    if draw(st.integers(0, 4)) == 0:
        body = body[: draw(st.integers(0, len(body)))] + draw(st.binary(max_size=3))
    return function, body[:252]


def execute(bank: Bank, frame: bytes) -> bytes:
    function = FUNCTIONS.get(frame[7])
    if function is None:
        return exception(frame, ExceptionCode.ILLEGAL_FUNCTION)
    return function.execute(bank, frame, 0.0)[0]


def first_of_all(function: int, body: bytes, objects: dict[int, str]) -> bytes:
    """What pymodbus sends of a category when asked from object 0 on."""
    reply = oracle(function, body[:2] + b"\0", Registers(0, [0]), objects)
    assert isinstance(reply, bytes)
    return reply


@given(st.integers(0, 4), st.lists(words, min_size=1, max_size=200), st.sampled_from(IDENTITIES), requests())
@example(0, [1, 2, 3], OBJECTS, (3, b""))
@example(0, [1, 2, 3], OBJECTS, (3, pack(0, 126)))
@example(0, [1, 2, 3], OBJECTS, (6, pack(0, 126) + b"\0"))
@example(0, [1, 2, 3], OBJECTS, (16, pack(2, 2) + b"\4" + pack(1, 1)))
@example(0, [0] * 200, OBJECTS, (16, pack(0, 123) + b"\xf6" + pack(*range(123))))
@example(0, [0x12, 2, 3], OBJECTS, (22, pack(0, 0xF2, 0x25)))
@example(0, [0] * 200, OBJECTS, (23, pack(0, 125, 4, 121) + b"\xf2" + pack(*range(121))))
@example(0, [1, 2, 3], OBJECTS, (23, pack(2, 2, 0, 1) + b"\2" + pack(7)))
@example(0, [1, 2, 3], OBJECTS, (43, bytes((14, 1, 5))))
@example(0, [1, 2, 3], LONG_OBJECTS, (43, bytes((14, 3, 0))))
@example(0, [1, 2, 3], FULL_OBJECTS, (43, bytes((14, 2, 0))))
@example(0, [1, 2, 3], FULL_OBJECTS, (43, bytes((14, 2, 4))))
@settings(max_examples=1000)
def test_every_answer_is_the_oracles_but_for_the_named_differences(
    start: int, held: list[int], objects: dict[int, str], request: tuple[int, bytes]
) -> None:
    function, body = request
    frame = adu(1, bytes([function]) + body, transaction=0x1234)
    bank = Bank(start, len(held), Identification(objects))
    bank.view = pack(*held)
    # Input registers begin at 0.
    bank.inputs = pack(*held)
    registers = Registers(0 if function == 4 else start, list(held))
    expected = oracle(function, body, registers, objects)

    reply = execute(bank, frame)

    if expected == RESTART:
        expected = first_of_all(function, body, objects)
    if isinstance(expected, str):
        assert reply == exception(frame, OUR_CODE[expected]), expected
    else:
        assert reply == adu(1, expected, transaction=0x1234)
    assert list(bank.registers()) == registers.values


EACH_DIFFERENCE = [
    (1, pack(0, 1), NOT_OFFERED),
    (2, pack(0, 1), NOT_OFFERED),
    (17, b"", NOT_OFFERED),
    (0x55, b"", NO_FUNCTION),
    (0, b"", NO_FUNCTION),
    (0x83, b"", NO_FUNCTION),
    (8, pack(1, 0), SUB_FUNCTION),
    (8, pack(10, 0), SUB_FUNCTION),
    (43, b"\x0d\x01\x00", SUB_FUNCTION),
    (3, b"\x00", TOO_SHORT),
    (6, b"\x00\x00\x01", TOO_SHORT),
    (8, b"\x00", TOO_SHORT),
    (16, pack(0, 1), TOO_SHORT),
    (22, pack(0, 1), TOO_SHORT),
    (23, pack(0, 1, 0, 1), TOO_SHORT),
    (43, b"\x0e\x01", TOO_SHORT),
    (3, pack(0, 0), QUANTITY),
    (3, pack(0, 126), QUANTITY),
    (4, pack(0, 126), QUANTITY),
    (23, pack(0, 126, 0, 1) + b"\2" + pack(1), QUANTITY),
    (3, pack(0, 1) + b"\0", TRAILING),
    (6, pack(0, 1) + b"\0", TRAILING),
    (22, pack(0, 1, 1) + b"\0", TRAILING),
    (43, b"\x0e\x01\x00\x00", TRAILING),
    (43, b"\x0e\x00\x00", DEVICE_ID_CODE),
    (23, pack(2, 2, 0, 1) + b"\2" + pack(7), HALF_DONE),
    (43, b"\x0e\x01\x05", RESTART),
]


@pytest.mark.parametrize(("function", "body", "difference"), EACH_DIFFERENCE)
def test_each_named_difference_is_there(function: int, body: bytes, difference: str) -> None:
    assert oracle(function, body, Registers(0, [1, 2, 3]), OBJECTS) == difference
