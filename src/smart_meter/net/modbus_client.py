"""A small Modbus TCP client: one connection, one request at a time. Standard library only.

The doctor uses it. The playbooks also send it to Pis that have no package installed, together with
`roles/concentrator/files/prove.py`, so it imports nothing of this package.

Chapters in the comments are those of the Modbus Application Protocol Specification V1.1b3, unless they name
the Guide, the Modbus Messaging on TCP/IP Implementation Guide V1.0b.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Self

READ_HOLDING_REGISTERS = 0x03  # 6.3
READ_INPUT_REGISTERS = 0x04  # 6.4
ENCAPSULATED_INTERFACE_TRANSPORT = 0x2B  # 6.21
_MEI_TYPE, _INDIVIDUAL_ACCESS = 0x0E, 0x04  # 6.21: Read Device Identification, one object
_OBJECT_HEAD = 9  # 6.21: the bytes of the reply's PDU before the object's value

_EXCEPTION_FLAG = 0x80  # 7
_MBAP = struct.Struct(">HHHB")  # Guide, 3.1.3: transaction, protocol, length, unit identifier
_MIN_LENGTH, _MAX_LENGTH = 3, 254  # unit identifier, and a reply's PDU: 2 to 253 bytes (4.1)


class ModbusError(Exception):
    """A request failed; the message explains why.

    The connection is closed, except after an exception reply.
    """


class ExceptionReplyError(ModbusError):
    """The server replied with a Modbus exception; `code` is its exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception 0x{code:02X}")
        self.code = code


class ModbusClient:
    """A connection to a Modbus TCP server, to be used as a context manager."""

    def __init__(
        self, connection: socket.socket, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """timeout: seconds in which a whole reply has to arrive. clock: returns monotonic seconds."""
        self._connection = connection
        self._timeout = timeout
        self._clock = clock
        self._transaction = 0

    @classmethod
    def connect(cls, host: str, port: int, timeout: float) -> Self:
        """Open a connection. timeout: seconds for this and for each reply. Raises ModbusError."""
        try:
            return cls(socket.create_connection((host, port), timeout), timeout)
        except OSError as error:
            raise ModbusError(_reason(error, timeout)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def announce(self, unit: int, pdu: bytes) -> None:
        """Send the request by which a concentrator ignores this connection in its counters.

        Any reply will do, an exception included. Raises ModbusError if there is no valid one.
        """
        with contextlib.suppress(ExceptionReplyError):
            self.request(unit, pdu)

    def read_holding_registers(self, unit: int, start: int, quantity: int) -> bytes:
        """Return `quantity` (1 to 125) registers in wire order (FC03). Raises ModbusError."""
        return self._read(READ_HOLDING_REGISTERS, unit, start, quantity)

    def read_input_registers(self, unit: int, start: int, quantity: int) -> bytes:
        """Return `quantity` (1 to 125) registers in wire order (FC04). Raises ModbusError."""
        return self._read(READ_INPUT_REGISTERS, unit, start, quantity)

    def read_object(self, unit: int, number: int) -> bytes:
        """Return one object of the device identification (FC43, MEI type 14). Raises ModbusError."""
        reply = self.request(
            unit, bytes((ENCAPSULATED_INTERFACE_TRANSPORT, _MEI_TYPE, _INDIVIDUAL_ACCESS, number))
        )
        value = reply[_OBJECT_HEAD:]
        if len(reply) < _OBJECT_HEAD or reply[1] != _MEI_TYPE or reply[6:9] != bytes((1, number, len(value))):
            raise self._invalid(f"it is not the identification object 0x{number:02X}")
        return value

    def request(self, unit: int, pdu: bytes) -> bytes:
        """Send a request's PDU and return the PDU of the reply, which has the same function code.

        Raises ExceptionReplyError, or ModbusError if there is no valid reply in time.
        """
        self._transaction = self._transaction % 0xFFFF + 1
        deadline = self._clock() + self._timeout
        try:
            self._connection.settimeout(self._timeout)
            self._connection.sendall(_MBAP.pack(self._transaction, 0, len(pdu) + 1, unit) + pdu)
            length = self._check_header(self._receive(_MBAP.size, deadline), unit)
            reply = self._receive(length - 1, deadline)
        except OSError as error:
            self._connection.close()
            raise ModbusError(_reason(error, self._timeout)) from error
        if reply[0] == pdu[0] | _EXCEPTION_FLAG and len(reply) == 2:
            raise ExceptionReplyError(reply[1])
        if reply[0] != pdu[0]:
            raise self._invalid(f"function code 0x{reply[0]:02X} instead of 0x{pdu[0]:02X}")
        return reply

    def _read(self, function: int, unit: int, start: int, quantity: int) -> bytes:
        reply = self.request(unit, struct.pack(">BHH", function, start, quantity))
        registers = reply[2:]
        if not reply[1] == len(registers) == 2 * quantity:
            raise self._invalid(
                f"byte count {reply[1]} and {len(registers)} bytes of registers instead of {2 * quantity}"
            )
        return registers

    def _check_header(self, header: bytes, unit: int) -> int:
        """Return the header's length field: the number of bytes from the unit identifier on."""
        transaction, protocol, length, answered = _MBAP.unpack(header)
        if transaction != self._transaction:
            raise self._invalid(f"transaction identifier {transaction} instead of {self._transaction}")
        if protocol != 0:  # Guide, 3.1.3: 0 is Modbus
            raise self._invalid(f"protocol identifier {protocol} instead of 0")
        if not _MIN_LENGTH <= length <= _MAX_LENGTH:
            raise self._invalid(f"length {length}, outside {_MIN_LENGTH} to {_MAX_LENGTH}")
        if answered != unit:
            raise self._invalid(f"unit identifier {answered} instead of {unit}")
        return int(length)

    def _receive(self, count: int, deadline: float) -> bytes:
        """Return exactly `count` bytes. Raises OSError, which TimeoutError is, too."""
        data = b""
        while len(data) < count:
            left = deadline - self._clock()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            part = self._connection.recv(count - len(data))
            if not part:
                raise ConnectionError("the server closed the connection before its reply was complete")
            data += part
        return data

    def _invalid(self, what: str) -> ModbusError:
        # What else arrives may belong to this reply: no later one could be trusted.
        self._connection.close()
        return ModbusError(f"invalid reply: {what}")


def _reason(error: OSError, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no reply in {timeout:g} s"
    return error.strerror.lower() if error.strerror else str(error)
