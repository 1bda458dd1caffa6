"""The small Modbus client: what it sends, and what it makes of every kind of reply."""

from __future__ import annotations

import ast
import socket
import sys
from collections.abc import Iterable
from typing import cast

import pytest

from smart_meter.modbus.functions import MAX_READ_REGISTERS, FunctionCode
from smart_meter.modbus.identification import MEI_TYPE, Identification, ObjectId, ReadDeviceId
from smart_meter.net import modbus_client
from smart_meter.net.modbus_client import ExceptionReplyError, ModbusClient, ModbusError
from tests.unit.wire import adu, answer, read, wire

TIMEOUT = 3.0


class Wire:
    """In place of a socket: replies in given portions, and a clock that each of them moves on."""

    def __init__(self, portions: Iterable[bytes | OSError], seconds_each: float = 0.0) -> None:
        self._portions = list(portions)
        self._seconds_each = seconds_each
        self.now = 100.0
        self.sent = b""
        self.timeouts: list[float] = []
        self.closed = False

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, count: int) -> bytes:
        self.now += self._seconds_each
        if not self._portions:
            return b""
        portion = self._portions.pop(0)
        if isinstance(portion, OSError):
            raise portion
        if len(portion) > count:
            self._portions.insert(0, portion[count:])
        return portion[:count]

    def close(self) -> None:
        self.closed = True

    def client(self) -> ModbusClient:
        return ModbusClient(cast(socket.socket, self), TIMEOUT, lambda: self.now)


def test_registers_are_returned_in_wire_order() -> None:
    connection = Wire([answer(1, (250, 0x5686))])
    assert connection.client().read_holding_registers(1, 4, 2) == wire("00fa 5686")
    assert connection.sent == read(4, 2)
    assert not connection.closed


def test_input_registers_have_a_function_code_of_their_own() -> None:
    connection = Wire([adu(7, wire("04 02 0001"))])
    assert connection.client().read_input_registers(7, 0, 1) == wire("0001")
    assert connection.sent == adu(7, wire("04 0000 0001"))


def test_a_reply_may_arrive_byte_by_byte() -> None:
    reply = answer(1, tuple(range(MAX_READ_REGISTERS)))
    connection = Wire(bytes((byte,)) for byte in reply)
    assert connection.client().read_holding_registers(1, 0, MAX_READ_REGISTERS) == reply[9:]


def test_each_request_has_a_transaction_identifier_of_its_own() -> None:
    connection = Wire([answer(1, (1,), transaction=1), answer(1, (2,), transaction=2)])
    client = connection.client()
    client.read_holding_registers(1, 0, 1)
    client.read_holding_registers(1, 0, 1)
    assert connection.sent == read(0, 1, transaction=1) + read(0, 1, transaction=2)


def test_transaction_identifiers_start_again_after_the_last_one() -> None:
    connection = Wire([answer(1, (1,), transaction=0xFFFF), answer(1, (2,), transaction=1)])
    client = connection.client()
    client._transaction = 0xFFFE
    client.read_holding_registers(1, 0, 1)
    assert client.read_holding_registers(1, 0, 1) == wire("0002")


def test_an_exception_is_reported_with_its_code_and_the_connection_stays_open() -> None:
    connection = Wire([adu(1, wire("83 0b")), answer(1, (1,), transaction=2)])
    client = connection.client()
    with pytest.raises(ExceptionReplyError, match=r"^exception 0x0B$") as raised:
        client.read_holding_registers(1, 0, 1)
    assert raised.value.code == 0x0B
    assert client.read_holding_registers(1, 0, 1) == wire("0001")


INVALID = [
    pytest.param(answer(1, (1,), transaction=2), "transaction identifier 2 instead of 1", id="transaction"),
    pytest.param(wire("0001 0001 0005 01 03 02 0001"), "protocol identifier 1 instead of 0", id="protocol"),
    pytest.param(wire("0001 0000 0002 01 03"), "length 2, outside 3 to 254", id="too short"),
    pytest.param(wire("0001 0000 00ff 01 03"), "length 255, outside 3 to 254", id="too long"),
    pytest.param(answer(2, (1,)), "unit identifier 2 instead of 1", id="unit"),
    pytest.param(adu(1, wire("04 02 0001")), "function code 0x04 instead of 0x03", id="function code"),
    pytest.param(adu(1, wire("83 02 00")), "function code 0x83 instead of 0x03", id="long exception"),
    pytest.param(answer(1, (1, 2)), "byte count 4 and 4 bytes of registers instead of 2", id="quantity"),
    pytest.param(
        adu(1, wire("03 04 0001")), "byte count 4 and 2 bytes of registers instead", id="byte count"
    ),
]


@pytest.mark.parametrize(("reply", "reason"), INVALID)
def test_an_invalid_reply_is_an_error_and_closes_the_connection(reply: bytes, reason: str) -> None:
    connection = Wire([reply])
    with pytest.raises(ModbusError, match=f"^invalid reply: {reason}"):
        connection.client().read_holding_registers(1, 0, 1)
    assert connection.closed


@pytest.mark.parametrize("portions", [[], [wire("0001 00")], [answer(1, (1,))[:-1]]])
def test_a_connection_that_is_closed_too_early_is_an_error(portions: list[bytes]) -> None:
    connection = Wire(portions)
    with pytest.raises(
        ModbusError, match=r"^the server closed the connection before its reply was complete$"
    ):
        connection.client().read_holding_registers(1, 0, 1)
    assert connection.closed


def test_a_connection_that_is_reset_is_an_error() -> None:
    connection = Wire([ConnectionResetError(104, "Connection reset by peer")])
    with pytest.raises(ModbusError, match=r"^connection reset by peer$"):
        connection.client().read_holding_registers(1, 0, 1)
    assert connection.closed


def test_a_server_that_sends_nothing_is_a_time_out() -> None:
    connection = Wire([TimeoutError("timed out")])
    with pytest.raises(ModbusError, match=r"^no reply in 3 s$"):
        connection.client().read_holding_registers(1, 0, 1)
    assert connection.closed


def test_the_time_out_is_for_the_whole_reply() -> None:
    connection = Wire([bytes((byte,)) for byte in answer(1, (1,))], seconds_each=1.0)
    with pytest.raises(ModbusError, match=r"^no reply in 3 s$"):
        connection.client().read_holding_registers(1, 0, 1)
    # To send, then for each portion the time that is left.
    assert connection.timeouts == [3.0, 3.0, 2.0, 1.0]


def test_an_identification_object_is_read_by_its_number() -> None:
    objects = Identification({0: "A", 1: "B", 2: "C", ObjectId.REGISTER_MAP_FINGERPRINT: "0123abcd"})
    reply = objects.one(ObjectId.REGISTER_MAP_FINGERPRINT)
    assert reply is not None
    connection = Wire([adu(1, wire("2b") + reply)])
    assert connection.client().read_object(1, 0x80) == b"0123abcd"
    assert connection.sent == adu(1, wire("2b 0e 04 80"))


@pytest.mark.parametrize(
    "pdu",
    [
        pytest.param("2b 0e", id="cut off"),
        pytest.param("2b 0d 04 83 00 00 01 80 01 41", id="another MEI type"),
        pytest.param("2b 0e 04 83 00 00 01 81 01 41", id="another object"),
        pytest.param("2b 0e 04 83 00 00 02 80 01 41", id="two objects"),
        pytest.param("2b 0e 04 83 00 00 01 80 02 41", id="another length"),
    ],
)
def test_another_identification_is_an_invalid_reply(pdu: str) -> None:
    connection = Wire([adu(1, wire(pdu))])
    with pytest.raises(ModbusError, match=r"^invalid reply: it is not the identification object 0x80$"):
        connection.client().read_object(1, 0x80)
    assert connection.closed


@pytest.mark.parametrize("reply", ["08 0000 0102", "88 01"], ids=["echo", "exception"])
def test_an_announcement_is_content_with_an_echo_or_an_exception(reply: str) -> None:
    connection = Wire([adu(1, wire(reply))])
    connection.client().announce(1, wire("08 0000 0102"))
    assert connection.sent == adu(1, wire("08 0000 0102"))


def test_an_announcement_without_a_reply_is_an_error() -> None:
    with pytest.raises(ModbusError):
        Wire([]).client().announce(1, wire("08 0000 0102"))


def test_leaving_the_context_closes_the_connection() -> None:
    connection = Wire([])
    with connection.client():
        pass
    assert connection.closed


def test_a_refused_connection_is_an_error() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and no process listens there
        with pytest.raises(ModbusError, match=r"^connection refused$"):
            ModbusClient.connect("127.0.0.1", bound.getsockname()[1], TIMEOUT)


def test_it_speaks_to_a_real_socket() -> None:
    ours, theirs = socket.socketpair()
    with theirs, ModbusClient(ours, TIMEOUT) as client:
        theirs.sendall(answer(1, (7,)))
        assert client.read_holding_registers(1, 0, 1) == wire("0007")
        assert theirs.recv(64) == read(0, 1)


def test_its_numbers_are_those_of_the_server() -> None:
    assert modbus_client.READ_HOLDING_REGISTERS == FunctionCode.READ_HOLDING_REGISTERS
    assert modbus_client.READ_INPUT_REGISTERS == FunctionCode.READ_INPUT_REGISTERS
    assert modbus_client.ENCAPSULATED_INTERFACE_TRANSPORT == FunctionCode.ENCAPSULATED_INTERFACE_TRANSPORT
    assert (modbus_client._MEI_TYPE, modbus_client._INDIVIDUAL_ACCESS) == (MEI_TYPE, ReadDeviceId.INDIVIDUAL)


def test_it_imports_only_the_standard_library_because_it_is_sent_to_pis() -> None:
    with open(modbus_client.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
