import struct

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.pdu.diag_message import ReturnQueryDataRequest
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadHoldingRegistersRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from smart_meter.modbus.functions import (
    EXCEPTION_FLAG,
    FUNCTIONS,
    MAX_READ_REGISTERS,
    MAX_READ_WRITE_REGISTERS,
    RETURN_QUERY_DATA,
    Bank,
    ExceptionCode,
    FunctionCode,
    exception,
)
from smart_meter.modbus.identification import MEI_TYPE, Identification
from tests.unit.wire import adu, wire


def bank(start: int = 0, registers: tuple[int, ...] = (250, 260, 485, 536, 850, 456, 0, 0)) -> Bank:
    made = Bank(start, len(registers), Identification({0: "V", 1: "P", 2: "1.2", 4: "N", 0x80: "abc"}))
    made.view = b"".join(register.to_bytes(2) for register in registers)
    return made


def answer(request: str, held: Bank) -> str:
    frame = wire(request)
    return FUNCTIONS[frame[7]].execute(held, frame, 0.0)[0].hex()


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


def test_a_mask_write_keeps_the_bits_of_the_one_mask_and_takes_those_of_the_other() -> None:
    # The example of 6.16: 0x12 masked with 0xF2 and 0x25 becomes 0x17.
    held = bank(registers=(0x0000, 0x0012))
    request = "0001 0000 0008 01 16 0001 00f2 0025"
    assert answer(request, held) == same(request)
    assert held.registers() == (0x0000, 0x0017)


def test_a_mask_write_reaches_the_high_byte() -> None:
    held = bank(registers=(0xABCD,))
    answer("0001 0000 0008 01 16 0000 0ff0 5005", held)
    assert held.registers() == (0x5BC5,)


def test_a_read_with_a_write_gives_what_was_just_written() -> None:
    held = bank()
    #         tid    proto  len    unit fc  read       write      size values
    request = "0001 0000 000f 01 17 0000 0003 0001 0002 04 0007 0008"
    assert answer(request, held) == same("0001 0000 0009 01 17 06 00fa 0007 0008")
    assert held.registers()[:4] == (250, 7, 8, 536)


def test_where_registers_can_not_be_read_a_read_with_a_write_writes_nothing() -> None:
    held = bank()
    held.failure = ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND
    before = held.registers()
    assert answer("0001 0000 000d 01 17 0003 0004 0001 0001 02 0007", held) == same("0001 0000 0003 01 97 0b")
    assert held.registers() == before
    assert answer("0001 0000 0006 01 06 0001 0007", held) == same("0001 0000 0006 01 06 0001 0007")


def test_the_longest_read_with_the_longest_write_is_carried_out() -> None:
    held = Bank(0, 200)
    values = "abcd" * 121
    reply = answer(f"0001 0000 00fd 01 17 0000 007d 0001 0079 f2 {values}", held)
    assert reply == same(f"0001 0000 00fd 01 17 fa 0000 {values}") + "0000" * 3


@pytest.mark.parametrize("data", ["", "a5", "a537", "00" * 250])
def test_query_data_of_any_length_are_echoed(data: str) -> None:
    request = adu(1, wire("08 0000" + data))
    assert answer(request.hex(), bank()) == request.hex()


@pytest.mark.parametrize(
    ("request_", "objects"),
    [
        ("01 00", "01 83 00 00 03 00 01 56 01 01 50 02 03 312e32"),
        ("02 00", "02 83 00 00 04 00 01 56 01 01 50 02 03 312e32 04 01 4e"),
        ("03 04", "03 83 00 00 02 04 01 4e 80 03 616263"),
        ("04 80", "04 83 00 00 01 80 03 616263"),
    ],
    ids=["basic", "regular", "extended, from object 4 on", "one object"],
)
def test_the_device_tells_who_it_is(request_: str, objects: str) -> None:
    reply = adu(1, wire(f"2b 0e {objects}"))
    assert answer(f"0001 0000 0005 01 2b 0e {request_}", bank()) == reply.hex()


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
        ("0001 0000 0008 01 16 0008 ffff 0000", 2),
        ("0001 0000 0006 01 16 0000 ffff", 3),
        ("0001 0000 000a 01 16 0000 ffff 0000 0000", 3),
        ("0001 0000 0002 01 17", 3),
        ("0001 0000 000d 01 17 0000 0000 0000 0001 02 0001", 3),
        ("0001 0000 000d 01 17 0000 007e 0000 0001 02 0001", 3),
        ("0001 0000 000b 01 17 0000 0001 0000 0000 00", 3),
        ("0001 0000 000d 01 17 0000 0001 0000 0001 03 0001", 3),
        ("0001 0000 000d 01 17 0000 0001 0000 0002 04 0001", 3),
        ("0001 0000 000e 01 17 0000 0001 0000 0001 02 0001 00", 3),
        ("0001 0000 000d 01 17 0007 0002 0000 0001 02 0001", 2),
        ("0001 0000 000d 01 17 0000 0001 0008 0001 02 0001", 2),
        ("0001 0000 0002 01 08", 3),
        ("0001 0000 0003 01 08 00", 3),
        ("0001 0000 0006 01 08 0001 0000", 1),
        ("0001 0000 0006 01 08 000a 0000", 1),
        ("0001 0000 0002 01 2b", 3),
        ("0001 0000 0005 01 2b 0d 01 00", 1),
        ("0001 0000 0003 01 2b 0e", 3),
        ("0001 0000 0005 01 2b 0e 00 00", 3),
        ("0001 0000 0005 01 2b 0e 05 00", 3),
        ("0001 0000 0006 01 2b 0e 01 00 00", 3),
        ("0001 0000 0005 01 2b 0e 04 03", 2),
        ("0001 0000 0005 01 2b 0e 04 07", 2),
        # The quantities are judged before the addresses: 6.17.
        ("0001 0000 000d 01 17 0100 0000 0100 0001 02 0001", 3),
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
    assert FUNCTIONS[16].execute(Bank(0, 200), request, 0.0)[0] == exception(
        request, ExceptionCode.ILLEGAL_DATA_VALUE
    )


@pytest.mark.parametrize("function", [0x00, 0x01, 0x55, 0x7F, 0x80, 0x83, 0xFF])
def test_an_exception_reply_has_the_highest_bit_of_the_function_byte_set(function: int) -> None:
    request = wire(f"0102 0000 0002 0b {function:02x}")
    reply = exception(request, ExceptionCode.ILLEGAL_FUNCTION)
    assert reply.hex() == same(f"0102 0000 0003 0b {function | 0x80:02x} 01")


@pytest.mark.parametrize(
    ("request_", "reads", "writes"),
    [
        ("0001 0000 0006 01 03 0002 0003", (2, 3), None),
        ("0001 0000 0006 01 06 0002 0003", None, (2, 1)),
        ("0001 0000 0006 01 08 0000 0003", None, None),
        ("0001 0000 000b 01 10 0006 0002 04 5686 1f60", None, (6, 2)),
        ("0001 0000 0008 01 16 0004 0003 0002", None, (4, 1)),
        ("0001 0000 000f 01 17 0000 0003 0001 0002 04 0007 0008", (0, 3), (1, 2)),
        ("0001 0000 0005 01 2b 0e 01 00", None, None),
    ],
)
def test_a_request_names_the_registers_it_reads_and_writes(
    request_: str, reads: tuple[int, int] | None, writes: tuple[int, int] | None
) -> None:
    request = wire(request_)
    function = FUNCTIONS[request[7]]
    assert (function.reads and function.reads(request)) == reads
    assert (function.writes and function.writes(request)) == writes


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
    assert MaskWriteRegisterRequest.function_code == FunctionCode.MASK_WRITE_REGISTER
    assert ReadWriteMultipleRegistersRequest.function_code == FunctionCode.READ_WRITE_MULTIPLE_REGISTERS
    assert ReturnQueryDataRequest.function_code == FunctionCode.DIAGNOSTICS
    assert ReturnQueryDataRequest.sub_function_code == RETURN_QUERY_DATA
    assert ReadDeviceInformationRequest.function_code == FunctionCode.ENCAPSULATED_INTERFACE_TRANSPORT
    assert ReadDeviceInformationRequest.sub_function_code == MEI_TYPE
    assert ReadWriteMultipleRegistersRequest.MAX_WRITE_COUNT == MAX_READ_WRITE_REGISTERS
    assert set(FUNCTIONS) == set(FunctionCode)
    assert ReadHoldingRegistersRequest.MAX_COUNT == MAX_READ_REGISTERS
    assert EXCEPTION_FLAG == 0x80
