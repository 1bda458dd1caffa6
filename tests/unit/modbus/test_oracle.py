"""Our answers held against those of pymodbus's PDU classes on the same registers."""

import struct
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from smart_meter.modbus.functions import FUNCTIONS, Bank, ExceptionCode, exception
from tests.unit.wire import adu

CLASSES: dict[int, type[ModbusPDU]] = {
    3: ReadHoldingRegistersRequest,
    6: WriteSingleRegisterRequest,
    16: WriteMultipleRegistersRequest,
}

TOO_SHORT = "the PDU ends before its fields: pymodbus can't decode it; we answer 03"
READ_QUANTITY = "FC03 with a quantity outside 1 to 125: pymodbus refuses to decode it; 6.3 asks for 03"
TRAILING = "bytes behind a PDU of fixed length: pymodbus overlooks them; we answer 03"


class Registers:
    """What pymodbus's PDU classes ask for registers and give values to."""

    def __init__(self, start: int, values: list[int]) -> None:
        self.start = start
        self.values = values

    def _outside(self, address: int, count: int) -> bool:
        return address < self.start or address + count > self.start + len(self.values)

    async def async_getValues(self, _: int, __: int, address: int, count: int) -> list[int] | ExcCodes:  # noqa: N802 - pymodbus's name
        if self._outside(address, count):
            return ExcCodes.ILLEGAL_ADDRESS
        return self.values[address - self.start : address - self.start + count]

    async def async_setValues(self, _: int, __: int, address: int, values: list[int]) -> ExcCodes | None:  # noqa: N802 - pymodbus's name
        if self._outside(address, len(values)):
            return ExcCodes.ILLEGAL_ADDRESS
        self.values[address - self.start : address - self.start + len(values)] = values
        return None


def finished(coroutine: Coroutine[Any, Any, ModbusPDU]) -> ModbusPDU:
    """Run a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    result: ModbusPDU = end.value.value
    return result


def oracle(function: int, body: bytes, registers: Registers) -> bytes | str:
    """pymodbus's reply PDU, or which of the differences applies."""
    request = CLASSES[function]()
    try:
        request.decode(body)
    except struct.error:
        return TOO_SHORT
    except ValueError:
        return READ_QUANTITY
    if function in (3, 6) and len(body) > 4:
        return TRAILING
    reply = finished(request.datastore_update(registers, 1))  # type: ignore[arg-type]  # a fake of its context
    return bytes([reply.function_code]) + reply.encode()


words = st.integers(0, 0xFFFF)
near = st.integers(0, 260) | words


@st.composite
def bodies(draw: st.DrawFn) -> tuple[int, bytes]:
    """A function code and what follows it: right, nearly right, or anything."""
    function = draw(st.sampled_from(sorted(CLASSES)))
    if draw(st.integers(0, 9)) == 0:
        return function, draw(st.binary(max_size=252))
    body = struct.pack(">H", draw(near))
    if function == 6:
        body += struct.pack(">H", draw(words))
    elif function == 3:
        body += struct.pack(">H", draw(near))
    else:
        values = draw(st.lists(words, max_size=123))
        quantity = draw(st.just(len(values)) | near)
        size = draw(st.just(2 * len(values)) | st.integers(0, 255))
        body += struct.pack(f">HB{len(values)}H", quantity, size, *values)
    if draw(st.integers(0, 4)) == 0:
        body = body[: draw(st.integers(0, len(body)))] + draw(st.binary(max_size=3))
    return function, body[:252]


@given(st.integers(0, 4), st.lists(words, min_size=1, max_size=200), bodies())
@example(0, [1, 2, 3], (3, b""))
@example(0, [1, 2, 3], (3, struct.pack(">HH", 0, 126)))
@example(0, [1, 2, 3], (6, struct.pack(">HHB", 0, 126, 0)))
@example(0, [1, 2, 3], (16, struct.pack(">HHBHH", 2, 2, 4, 1, 1)))
@example(0, [0] * 200, (16, struct.pack(">HHB123H", 0, 123, 246, *range(123))))
def test_every_answer_is_the_oracles_but_for_the_named_differences(
    start: int, values: list[int], request: tuple[int, bytes]
) -> None:
    function, body = request
    frame = adu(1, bytes([function]) + body, transaction=0x1234)
    bank = Bank(start, len(values))
    bank.data[:] = struct.pack(f">{len(values)}H", *values)
    registers = Registers(start, list(values))
    expected = oracle(function, body, registers)

    reply = FUNCTIONS[function].execute(bank, frame)

    if isinstance(expected, str):
        assert reply == exception(frame, ExceptionCode.ILLEGAL_DATA_VALUE), expected
    else:
        assert reply == adu(1, expected, transaction=0x1234)
    assert list(bank.registers()) == registers.values


@pytest.mark.parametrize(
    ("function", "body", "difference"),
    [
        (3, b"\x00", TOO_SHORT),
        (6, b"\x00\x00\x01", TOO_SHORT),
        (16, b"\x00\x00\x00\x01", TOO_SHORT),
        (3, struct.pack(">HH", 0, 0), READ_QUANTITY),
        (3, struct.pack(">HH", 0, 126), READ_QUANTITY),
        (3, struct.pack(">HHB", 0, 1, 0), TRAILING),
        (6, struct.pack(">HHB", 0, 1, 0), TRAILING),
    ],
)
def test_each_named_difference_is_there(function: int, body: bytes, difference: str) -> None:
    assert oracle(function, body, Registers(0, [1, 2, 3])) == difference
