import struct

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from smart_meter.modbus.functions import (
    EXCEPTION_FLAG,
    FUNCTIONS,
    MAX_READ_REGISTERS,
    Bank,
    ExceptionCode,
    FunctionCode,
    addressed,
    exception,
)
from tests.unit.wire import wire


def bank(start: int = 0, registers: tuple[int, ...] = (250, 260, 485, 536, 850, 456, 0, 0)) -> Bank:
    made = Bank(start, len(registers))
    made.data[:] = b"".join(register.to_bytes(2) for register in registers)
    return made


def answer(request: str, held: Bank) -> str:
    frame = wire(request)
    return FUNCTIONS[frame[7]].execute(held, frame).hex()


def same(text: str) -> str:
    return text.replace(" ", "")


def test_a_read_returns_the_registers_in_wire_order() -> None:
    #               tid    proto  len    unit fc  addr   quantity
    request = "0007 0000 0006 01 03 0002 0003"
    assert answer(request, bank()) == same("0007 0000 0009 01 03 06 01e5 0218 0352")


def test_a_single_write_is_echoed_and_stored() -> None:
    held = bank()
    assert answer("0001 0000 0006 01 06 0001 00ff", held) == same("0001 0000 0006 01 06 0001 00ff")
    assert held.registers()[:3] == (250, 255, 485)


def test_a_write_of_several_returns_address_and_quantity_and_is_stored() -> None:
    held = bank()
    reply = answer("0001 0000 000b 01 10 0006 0002 04 5686 1f60", held)
    assert reply == same("0001 0000 0006 01 10 0006 0002")
    assert held.registers()[6:] == (0x5686, 0x1F60)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("0001 0000 0006 01 03 0000 0000", 3),
        ("0001 0000 0006 01 03 0000 007e", 3),
        ("0001 0000 0006 01 03 ffff ffff", 3),
        ("0001 0000 0006 01 03 0000 0009", 2),
        ("0001 0000 0006 01 03 0008 0001", 2),
        ("0001 0000 0006 01 03 ffff 0001", 2),
        ("0001 0000 0002 01 03", 3),
        ("0001 0000 0005 01 03 0000 00", 3),
        ("0001 0000 0007 01 03 0000 0008 00", 3),
        ("0001 0000 0006 01 06 0008 0001", 2),
        ("0001 0000 0002 01 06", 3),
        ("0001 0000 0008 01 06 0000 0001 0002", 3),
        ("0001 0000 0007 01 10 0000 0000 00", 3),
        ("0001 0000 0009 01 10 0000 0001 03 0001", 3),
        ("0001 0000 0009 01 10 0000 0002 04 0001", 3),
        ("0001 0000 000a 01 10 0000 0001 02 0001 00", 3),
        ("0001 0000 0006 01 10 0000 0001", 3),
        ("0001 0000 0002 01 10", 3),
        ("0001 0000 0009 01 10 0008 0001 02 0001", 2),
        ("0001 0000 000b 01 10 0007 0002 04 0001 0002", 2),
        # The quantity is judged before the address: 6.3 and 6.12, state diagrams.
        ("0001 0000 0006 01 03 0100 0000", 3),
        ("0001 0000 0007 01 10 0100 0000 00", 3),
    ],
)
def test_a_bad_request_gets_its_exception_and_changes_nothing(request_: str, code: int) -> None:
    held = bank()
    function = wire(request_)[7]
    assert answer(request_, held) == same(f"0001 0000 0003 01 {function | 0x80:02x} {code:02x}")
    assert held.registers() == bank().registers()


def test_a_bank_may_begin_anywhere() -> None:
    held = bank(start=100, registers=(1, 2, 3))
    assert answer("0001 0000 0006 01 03 0064 0003", held) == same("0001 0000 0009 01 03 06 0001 0002 0003")
    assert answer("0001 0000 0006 01 03 0063 0001", held).endswith("8302")
    assert answer("0001 0000 0006 01 06 0066 0009", held) == same("0001 0000 0006 01 06 0066 0009")
    assert held.registers() == (1, 2, 9)


def test_the_last_register_of_all_can_be_read() -> None:
    held = bank(start=65535, registers=(7,))
    assert answer("0001 0000 0006 01 03 ffff 0001", held) == same("0001 0000 0005 01 03 02 0007")
    assert answer("0001 0000 0006 01 03 ffff 0002", held).endswith("8302")


def test_the_longest_read_and_the_longest_write_are_carried_out() -> None:
    held = Bank(0, 200)
    assert len(answer("0001 0000 0006 01 03 0000 007d", held)) == 2 * (9 + 250)
    values = "abcd" * 123
    assert answer(f"0001 0000 00fd 01 10 0000 007b f6 {values}", held) == same(
        "0001 0000 0006 01 10 0000 007b"
    )
    assert held.registers()[:124] == (0xABCD,) * 123 + (0,)


def test_a_longer_write_is_refused_though_no_frame_could_bring_it() -> None:
    request = struct.pack(">HHHBBHHB", 1, 0, 255, 1, 16, 0, 124, 248) + bytes(248)
    assert FUNCTIONS[16].execute(Bank(0, 200), request) == exception(
        request, ExceptionCode.ILLEGAL_DATA_VALUE
    )


@pytest.mark.parametrize("function", [0x00, 0x01, 0x55, 0x7F, 0x80, 0x83, 0xFF])
def test_an_exception_reply_has_the_highest_bit_of_the_function_byte_set(function: int) -> None:
    request = wire(f"0102 0000 0002 0b {function:02x}")
    reply = exception(request, ExceptionCode.ILLEGAL_FUNCTION)
    assert reply.hex() == same(f"0102 0000 0003 0b {function | 0x80:02x} 01")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("0001 0000 0006 01 03 0002 0003", (2, 3)),
        ("0001 0000 0006 01 06 0002 0003", (2, 1)),
        ("0001 0000 000b 01 10 0006 0002 04 5686 1f60", (6, 2)),
    ],
)
def test_a_request_names_the_registers_it_is_about(request_: str, expected: tuple[int, int]) -> None:
    assert addressed(wire(request_)) == expected


def test_our_exception_codes_are_those_of_pymodbus() -> None:
    # pymodbus has one more, 7, which the specification withdrew.
    assert {code.value for code in ExceptionCode} == {code.value for code in ExcCodes} - {
        ExcCodes.NEGATIVE_ACKNOWLEDGE
    }
    pairs = [
        (ExceptionCode.ILLEGAL_FUNCTION, ExcCodes.ILLEGAL_FUNCTION),
        (ExceptionCode.ILLEGAL_DATA_ADDRESS, ExcCodes.ILLEGAL_ADDRESS),
        (ExceptionCode.ILLEGAL_DATA_VALUE, ExcCodes.ILLEGAL_VALUE),
        (ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND, ExcCodes.GATEWAY_NO_RESPONSE),
    ]
    for ours, theirs in pairs:
        assert ours.value == theirs.value


def test_our_function_codes_and_limits_are_those_of_pymodbus() -> None:
    assert ReadHoldingRegistersRequest.function_code == FunctionCode.READ_HOLDING_REGISTERS
    assert WriteSingleRegisterRequest.function_code == FunctionCode.WRITE_SINGLE_REGISTER
    assert WriteMultipleRegistersRequest.function_code == FunctionCode.WRITE_MULTIPLE_REGISTERS
    assert set(FUNCTIONS) == set(FunctionCode)
    assert ReadHoldingRegistersRequest.MAX_COUNT == MAX_READ_REGISTERS
    assert EXCEPTION_FLAG == 0x80
