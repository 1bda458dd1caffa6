"""A Modbus TCP client for our own tools: pymodbus's, with errors that say what happened."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import Self

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    WriteMultipleRegistersRequest,
)

from smart_meter import probe
from smart_meter.modbus.functions import MAX_READ_REGISTERS, ExceptionCode, FunctionCode

MEANINGS: dict[int, str] = {
    ExceptionCode.ILLEGAL_FUNCTION: "illegal function: the server does not do this, or not for this client",
    ExceptionCode.ILLEGAL_DATA_ADDRESS: "illegal data address: the server has no such registers",
    ExceptionCode.ILLEGAL_DATA_VALUE: "illegal data value: the request's quantity or value is not allowed",
    ExceptionCode.SERVER_DEVICE_FAILURE: "server device failure",
    ExceptionCode.ACKNOWLEDGE: "acknowledge: accepted, but it takes long",
    ExceptionCode.SERVER_DEVICE_BUSY: "server device busy: try again later",
    ExceptionCode.MEMORY_PARITY_ERROR: "memory parity error",
    ExceptionCode.GATEWAY_PATH_UNAVAILABLE: "gateway path unavailable",
    ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND: "gateway target device failed to respond: "
    "no meter has this unit identifier",
}

# It would print to stderr what we tell in our own words.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL + 1)


class ClientError(Exception):
    """A request was not carried out; the text says why."""


class UnreachableError(ClientError):
    """There is no connection, or it ended before the answer."""


class ExceptionAnsweredError(ClientError):
    """The server answered with a Modbus exception, whose code is `code`."""

    def __init__(self, what: str, code: int) -> None:
        self.code = code
        meaning = MEANINGS.get(code, "not in the specification")
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
            count = min(quantity - len(registers), MAX_READ_REGISTERS)
            request = ReadHoldingRegistersRequest(address=address, count=count, dev_id=self._unit_id)
            part = self._ask(f"reading {_span(address, count)}", request).registers
            if len(part) != count:
                self.close()
                raise ClientError(f"reading {_span(address, count)} was answered with {len(part)} registers")
            registers += part
        return registers

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
