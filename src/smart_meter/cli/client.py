"""A Modbus TCP client for our own tools: pymodbus's, with errors that say what happened."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
from collections.abc import Sequence
from typing import Self

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
)

from smart_meter.concentrator import probe
from smart_meter.modbus.functions import (
    MAX_READ_REGISTERS,
    MAX_WRITE_REGISTERS,
    ExceptionCode,
    FunctionCode,
)
from smart_meter.registers import status_block
from smart_meter.registers.register_map import RegisterMap
from smart_meter.registers.status_block import State, Status

MEANINGS: dict[int, str] = {
    ExceptionCode.ILLEGAL_FUNCTION: "illegal function: the server does not do this, or not for this client",
    ExceptionCode.ILLEGAL_DATA_ADDRESS: "illegal data address: the server has no such registers",
    ExceptionCode.ILLEGAL_DATA_VALUE: "illegal data value: the request's quantity or value is not allowed",
    ExceptionCode.SERVER_DEVICE_FAILURE: "server device failure",
    ExceptionCode.ACKNOWLEDGE: "acknowledge: accepted, but it takes long",
    ExceptionCode.SERVER_DEVICE_BUSY: "server device busy: try again later",
    ExceptionCode.MEMORY_PARITY_ERROR: "memory parity error",
    ExceptionCode.GATEWAY_PATH_UNAVAILABLE: "gateway path unavailable",
    ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND: "gateway target device failed to respond",
}

# It would print to stderr what we tell in our own words.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL + 1)


class ClientError(Exception):
    """A request was not carried out; the text says why."""


class UnreachableError(ClientError):
    """There is no connection, or it ended before the answer."""


class ExceptionAnsweredError(ClientError):
    """The server answered with a Modbus exception, whose code is `code`."""

    def __init__(self, what: str, code: int, reason: str = "") -> None:
        """`reason`: what is known beyond the specification's words."""
        self.code = code
        meaning = MEANINGS.get(code, "not in the specification")
        if reason:
            meaning = f"{meaning}: {reason}"
        super().__init__(f"{what} was answered with exception 0x{code:02X} ({meaning})")


_NOWHERE = b"\xff\xff"
_NO_WRITES: dict[int, bytes] = {
    # A quantity of 0, in either half where there are two.
    FunctionCode.WRITE_MULTIPLE_REGISTERS: _NOWHERE + bytes(3),
    FunctionCode.READ_WRITE_MULTIPLE_REGISTERS: _NOWHERE + bytes(2) + _NOWHERE + bytes(3),
    # No value, and no masks.
    FunctionCode.WRITE_SINGLE_REGISTER: _NOWHERE,
    FunctionCode.MASK_WRITE_REGISTER: _NOWHERE,
}
"""What follows the function code in a write that no server can carry out.

Its address is the last one there is: a server that overlooks the length writes where no register lies.
"""
WRITES = tuple(_NO_WRITES)
"""The function codes that write, the usual one first."""


class _Request(ModbusPDU):
    """A request as it stands on the wire, which need not be a right one."""

    def __init__(self, pdu: bytes, unit_id: int) -> None:
        super().__init__(dev_id=unit_id)
        self.function_code = pdu[0]
        self._body = pdu[1:]

    def encode(self) -> bytes:
        return self._body


class Client:
    """One connection, opened with the first request, and anew with the next one after a failure."""

    def __init__(self, host: str, port: int, unit_id: int, timeout: float = 3.0) -> None:
        """`timeout` in seconds, for the connection and for each answer."""
        self.host = host
        self.port = port
        self._unit_id = unit_id
        self._timeout = timeout
        self._modbus = ModbusTcpClient(host, port=port, timeout=timeout, retries=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._modbus.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped

    def read(self, start: int, quantity: int) -> list[int]:
        """Return holding registers (FC03, as many requests as it takes). Raises ClientError."""
        registers: list[int] = []
        while len(registers) < quantity:
            address = start + len(registers)
            registers += self._read_holding(address, min(quantity - len(registers), MAX_READ_REGISTERS))
        return registers

    def read_map(self, register_map: RegisterMap) -> list[int]:
        """Return the registers of a map's whole span; those of gaps may not be asked for, and are 0.

        Raises ClientError.
        """
        start = register_map.start
        registers = [0] * register_map.quantity
        for address, quantity in register_map.spans(MAX_READ_REGISTERS):
            first = address - start
            registers[first : first + quantity] = self._read_holding(address, quantity)
        return registers

    def read_status(self) -> Status | None:
        """Return the meter's status block (FC04); None where the server has none, as others' servers have.

        Raises UnreachableError where no answer comes, and ExceptionAnsweredError where the server knows no
        such unit identifier.
        """
        what = f"reading input {_span(status_block.START, status_block.QUANTITY)}"
        request = ReadInputRegistersRequest(
            address=status_block.START, count=status_block.QUANTITY, dev_id=self._unit_id
        )
        try:
            registers = self._ask(what, request).registers
        except ExceptionAnsweredError as error:
            if error.code == ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND:
                raise
            return None
        if len(registers) != status_block.QUANTITY:
            return None
        status = status_block.decode(struct.pack(f">{len(registers)}H", *registers))
        # Another device's input registers may hold anything.
        known = status.layout_version == status_block.LAYOUT_VERSION and status.state in list(State)
        return status if known else None

    def write(self, start: int, registers: Sequence[int]) -> None:
        """Write holding registers in one request (FC16). Raises ClientError."""
        request = WriteMultipleRegistersRequest(address=start, registers=registers, dev_id=self._unit_id)
        self._ask(f"writing {_span(start, len(registers))}", request)

    def announce_probe(self) -> None:
        """Have a concentrator count nothing of this connection (FC08). Raises UnreachableError."""
        # A server that does not know diagnostics, or not for this client, says so; that is an answer, too.
        with contextlib.suppress(ExceptionAnsweredError):
            self._ask("announcing the probe", _Request(probe.PDU, self._unit_id))

    def try_write(self, function: int) -> None:
        """Send a write that no server can carry out, with one of the function codes of `WRITES`.

        The exception that it is answered with says whether the function code may be used: 01 where not, 03
        (or 02) where it may. Raises ClientError.
        """
        request = _Request(bytes((function,)) + _NO_WRITES[function], self._unit_id)
        self._ask(f"a write of nothing with function code {function}", request)

    def write_map(self, register_map: RegisterMap, registers: Sequence[int]) -> None:
        """Write a sample: every measurement of a map, in as many requests as it takes (FC16).

        registers: the map's whole span. Raises ClientError.
        """
        start = register_map.start
        for address, quantity in register_map.spans(MAX_WRITE_REGISTERS):
            self.write(address, registers[address - start : address - start + quantity])

    def _read_holding(self, address: int, quantity: int) -> list[int]:
        what = f"reading {_span(address, quantity)}"
        request = ReadHoldingRegistersRequest(address=address, count=quantity, dev_id=self._unit_id)
        try:
            registers = list(self._ask(what, request).registers)
        except ExceptionAnsweredError as error:
            if error.code != ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND:
                raise
            raise ExceptionAnsweredError(
                f"{self.host}:{self.port}: {what}", error.code, self._why_no_response()
            ) from error
        if len(registers) != quantity:
            self.close()
            raise ClientError(f"{what} was answered with {len(registers)} registers")
        return registers

    def _why_no_response(self) -> str:
        """Return which of its meanings exception 0B has for holding registers: the status block knows."""
        nobody = f"no meter has unit identifier {self._unit_id}"
        try:
            status = self.read_status()
        except ExceptionAnsweredError:
            return nobody
        except ClientError:
            status = None
        if status is None:
            return f"{nobody}, or the meter's values are too old"
        reason = 'its values are withheld (on_stale = "exception")'
        return f"meter {self._unit_id} is {status_block.describe(status)}; {reason}"

    def _ask(self, what: str, request: ModbusPDU) -> ModbusPDU:
        self._connect()
        try:
            answer = self._modbus.execute(False, request)
        except (ModbusException, OSError) as error:
            # pymodbus closes the socket when the other end does, and keeps it when no answer came in time.
            reason = "no answer came" if self._modbus.connected else "the server closed the connection"
            self.close()
            raise UnreachableError(f"{self.host}:{self.port}: {reason} ({what})") from error
        if answer.isError():
            raise ExceptionAnsweredError(f"{self.host}:{self.port}: {what}", answer.exception_code)
        return answer

    def _connect(self) -> None:
        if self._modbus.connected:
            return
        try:
            # pymodbus's own connect() keeps the reason of a failure to itself.
            self._modbus.socket = socket.create_connection((self.host, self.port), self._timeout)
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise UnreachableError(f"can't connect to {self.host}:{self.port}: {reason}") from error


def _span(address: int, quantity: int) -> str:
    return f"register {address}" if quantity == 1 else f"registers {address} to {address + quantity - 1}"
