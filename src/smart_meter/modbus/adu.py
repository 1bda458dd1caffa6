"""MBAP framing: bytes in any portions become whole application data units. No I/O.

An ADU: transaction identifier (2 bytes), protocol identifier (2), length (2), unit identifier (1), PDU.
"""

from __future__ import annotations

from collections.abc import Sequence

UNIT = 6
"""Offset of the unit identifier. Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3 (MBAP header)."""
FUNCTION = 7
"""Offset of the function code, the first byte of the PDU."""

# The length field counts the unit identifier and the PDU (Implementation Guide V1.0b, 3.1.3).
MIN_LENGTH = 2  # a unit identifier and a function code
MAX_LENGTH = 254  # a unit identifier and the largest PDU, 253 bytes: Application Protocol V1.1b3, 4.1
MAX_ADU = 260  # Application Protocol V1.1b3, 4.1


def is_one_request(segment: bytes) -> bool:
    """Whether a segment is exactly one whole ADU, as nearly all segments are."""
    size = len(segment)
    return size > FUNCTION and segment[5] + 6 == size and segment[2:5] == b"\0\0\0"


def _all_alike(stream: bytes, length: int) -> bool:
    """Whether a stream is nothing but ADUs of one length, as from a client that repeats one request.

    Each byte of the headers is compared in all of them at once.
    """
    count = len(stream) // length
    return stream[5::length] == stream[5:6] * count and stream[4::length] == stream[3::length] == stream[
        2::length
    ] == bytes(count)


class AduReader:
    """Cuts a stream into ADUs; once the stream can no longer be followed, `error` is the reason."""

    __slots__ = ("error", "rest")

    def __init__(self) -> None:
        self.rest = b""
        """The beginning of a request whose end has not arrived."""
        self.error: str | None = None

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Return the ADUs that `data` completes, in order; those before a framing error are still returned.

        After a framing error nothing more is returned: nothing in the stream marks the next frame.
        """
        # Most segments hold exactly one request: nothing is copied then.
        if not self.rest and self.error is None and is_one_request(data):
            return (data,)
        return self._cut(data)

    def _cut(self, data: bytes) -> list[bytes]:
        adus: list[bytes] = []
        if self.error is not None:
            return adus
        stream = self.rest + data if self.rest else data
        size = len(stream)
        first = stream[5] + 6 if size > FUNCTION else size
        if first > FUNCTION and size % first == 0 and _all_alike(stream, first):
            self.rest = b""
            return [stream[start : start + first] for start in range(0, size, first)]
        start = 0
        while size - start >= 6:
            protocol = stream[start + 2] << 8 | stream[start + 3]
            length = stream[start + 4] << 8 | stream[start + 5]
            if protocol != 0:  # Implementation Guide V1.0b, 3.1.3: 0 is Modbus
                self.error = f"protocol identifier {protocol}, not 0"
            elif not MIN_LENGTH <= length <= MAX_LENGTH:
                self.error = f"length {length}, outside {MIN_LENGTH} to {MAX_LENGTH}"
            if self.error is not None:
                self.rest = b""
                return adus
            end = start + 6 + length
            if end > size:
                break
            adus.append(stream[start:end])
            start = end
        self.rest = stream[start:]
        return adus
