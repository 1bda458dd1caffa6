"""A Modbus TCP client for our own tools: pymodbus's client with errors that explain what happened."""

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
    ExceptionCode.ILLEGAL_FUNCTION: "illegal function: not supported, or not permitted for this client",
    ExceptionCode.ILLEGAL_DATA_ADDRESS: "illegal data address: the server has no such registers",
    ExceptionCode.ILLEGAL_DATA_VALUE: "illegal data value: the request's quantity or value is not allowed",
    ExceptionCode.SERVER_DEVICE_FAILURE: "server device failure",
    ExceptionCode.ACKNOWLEDGE: "acknowledge: accepted, but it takes a long time",
    ExceptionCode.SERVER_DEVICE_BUSY: "server device busy: try again later",
    ExceptionCode.MEMORY_PARITY_ERROR: "memory parity error",
    ExceptionCode.GATEWAY_PATH_UNAVAILABLE: "gateway path unavailable",
    ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND: "gateway target device failed to respond",
}

# pymodbus would print to stderr the errors that our own messages report.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL + 1)


class ClientError(Exception):
    """A request failed; the message explains why."""


class UnreachableError(ClientError):
    """The connection could not be opened, or ended before the reply arrived."""


class ExceptionAnsweredError(ClientError):
    """The server replied with a Modbus exception; `code` is its exception code."""

    def __init__(self, what: str, code: int, reason: str = "") -> None:
        """what: the failed request. reason: details beyond the specification's meaning of the code."""
        self.code = code
        meaning = MEANINGS.get(code, "not in the specification")
        if reason:
            meaning = f"{meaning}: {reason}"
        super().__init__(f"{what} was answered with exception 0x{code:02X} ({meaning})")


_NOWHERE = b"\xff\xff"
_NO_WRITES: dict[int, bytes] = {
    # A quantity of 0, in both parts if there are two.
    FunctionCode.WRITE_MULTIPLE_REGISTERS: _NOWHERE + bytes(3),
    FunctionCode.READ_WRITE_MULTIPLE_REGISTERS: _NOWHERE + bytes(2) + _NOWHERE + bytes(3),
    # No value, or no masks.
    FunctionCode.WRITE_SINGLE_REGISTER: _NOWHERE,
    FunctionCode.MASK_WRITE_REGISTER: _NOWHERE,
}
"""By function code: the rest of a write request that no server can carry out.

Its address is 65535, so that a server that ignores the missing data writes to an unused register.
"""
WRITES = tuple(_NO_WRITES)
"""The function codes that write registers, the usual one first."""


class _Request(ModbusPDU):
    """A request with a given PDU, which need not be valid."""

    def __init__(self, pdu: bytes, unit_id: int) -> None:
        super().__init__(dev_id=unit_id)
        self.function_code = pdu[0]
        self._body = pdu[1:]

    def encode(self) -> bytes:
        return self._body


class Client:
    """One connection, opened by the first request, and opened again by the next request after a failure."""

    def __init__(self, host: str, port: int, unit_id: int, timeout: float = 3.0) -> None:
        """timeout: seconds for the connection and for each reply."""
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
        """Return `quantity` holding registers (FC03, in as many requests as needed). Raises ClientError."""
        registers: list[int] = []
        while len(registers) < quantity:
            address = start + len(registers)
            registers += self._read_holding(address, min(quantity - len(registers), MAX_READ_REGISTERS))
        return registers

    def read_map(self, register_map: RegisterMap) -> list[int]:
        """Return the registers of a map's whole span; gaps between measurements are not read, and are 0.

        Raises ClientError.
        """
        start = register_map.start
        registers = [0] * register_map.quantity
        for address, quantity in register_map.spans(MAX_READ_REGISTERS):
            first = address - start
            registers[first : first + quantity] = self._read_holding(address, quantity)
        return registers

    def read_status(self) -> Status | None:
        """Return the meter's status block (FC04); None if the server has none, like servers other than ours.

        An older concentrator refuses to read beyond the registers that it has: then these are asked for.

        Raises UnreachableError if no reply arrives, and ExceptionAnsweredError if the server does not know
        the unit identifier.
        """
        try:
            try:
                registers = self._read_input(status_block.QUANTITY)
            except ExceptionAnsweredError as error:
                if error.code != ExceptionCode.ILLEGAL_DATA_ADDRESS:
                    raise
                registers = self._read_input(status_block.CORE)
        except ExceptionAnsweredError as error:
            if error.code == ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND:
                raise
            return None
        if len(registers) < status_block.CORE:
            return None
        status = status_block.decode(struct.pack(f">{len(registers)}H", *registers))
        # The input registers of another device may hold anything.
        known = status.layout_version == status_block.LAYOUT_VERSION and status.state in list(State)
        return status if known else None

    def write(self, start: int, registers: Sequence[int]) -> None:
        """Write holding registers in one request (FC16). Raises ClientError."""
        request = WriteMultipleRegistersRequest(address=start, registers=registers, dev_id=self._unit_id)
        self._ask(f"writing {_span(start, len(registers))}", request)

    def announce_probe(self) -> None:
        """Make a concentrator ignore this connection in its counters (FC08). Raises UnreachableError."""
        # A server that does not support diagnostics replies with an exception, which is good enough.
        with contextlib.suppress(ExceptionAnsweredError):
            self._ask("announcing the probe", _Request(probe.PDU, self._unit_id))

    def try_write(self, function: int) -> None:
        """Send a write that no server can carry out, with one of the function codes of `WRITES`.

        The exception in the reply shows whether the function code is permitted: 01 if not, 03 (or 02) if it
        is. Raises ClientError.
        """
        request = _Request(bytes((function,)) + _NO_WRITES[function], self._unit_id)
        self._ask(f"a write of nothing with function code {function}", request)

    def write_map(self, register_map: RegisterMap, registers: Sequence[int]) -> None:
        """Write a sample: every measurement of a map (FC16, in as many requests as needed).

        registers: the map's whole span. Raises ClientError.
        """
        start = register_map.start
        for address, quantity in register_map.spans(MAX_WRITE_REGISTERS):
            self.write(address, registers[address - start : address - start + quantity])

    def _read_input(self, quantity: int) -> list[int]:
        what = f"reading input {_span(status_block.START, quantity)}"
        request = ReadInputRegistersRequest(address=status_block.START, count=quantity, dev_id=self._unit_id)
        return list(self._ask(what, request).registers)

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
        """Return why holding registers were answered with exception 0B, according to the status block."""
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
            # pymodbus closes the socket when the server does, and keeps it after a time-out.
            reason = "no reply in time" if self._modbus.connected else "the server closed the connection"
            self.close()
            raise UnreachableError(f"{self.host}:{self.port}: {reason} ({what})") from error
        if answer.isError():
            raise ExceptionAnsweredError(f"{self.host}:{self.port}: {what}", answer.exception_code)
        return answer

    def _connect(self) -> None:
        if self._modbus.connected:
            return
        try:
            # pymodbus's own connect() does not report the reason of a failure.
            self._modbus.socket = socket.create_connection((self.host, self.port), self._timeout)
        except OSError as error:
            reason = "timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise UnreachableError(f"can't connect to {self.host}:{self.port}: {reason}") from error


def _span(address: int, quantity: int) -> str:
    return f"register {address}" if quantity == 1 else f"registers {address} to {address + quantity - 1}"
