"""The objects of Read Device Identification. Pure.

Chapters are those of the Modbus Application Protocol Specification V1.1b3.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

MEI_TYPE = 0x0E  # 6.21
MAX_OBJECT = 244
"""The longest object: it may not be cut, and 9 other bytes come first in a PDU of 253 (4.1, 6.21)."""

_CONFORMITY_LEVEL = 0x83  # 6.21: extended identification, in a stream and object by object
_MORE_FOLLOWS = 0xFF  # 6.21
_HEAD = 7  # function code, MEI type, access, conformity level, more follows, next object, number of objects
_MAX_PDU = 253  # 4.1


class ObjectId(enum.IntEnum):
    """The objects' identifiers (6.21); from 0x80 on, each device has its own."""

    VENDOR_NAME = 0x00
    PRODUCT_CODE = 0x01
    MAJOR_MINOR_REVISION = 0x02
    VENDOR_URL = 0x03
    PRODUCT_NAME = 0x04
    MODEL_NAME = 0x05
    USER_APPLICATION_NAME = 0x06
    REGISTER_MAP_FINGERPRINT = 0x80
    METER_NAME = 0x81


class ReadDeviceId(enum.IntEnum):
    """Which objects are requested (6.21, Read Device ID code)."""

    BASIC = 1
    REGULAR = 2
    EXTENDED = 3
    INDIVIDUAL = 4


_LAST_OF = {ReadDeviceId.BASIC: 0x02, ReadDeviceId.REGULAR: 0x7F, ReadDeviceId.EXTENDED: 0xFF}
"""The last identifier of each category; a category includes the ones before it."""


class Identification:
    """The objects of one device, each as ASCII text, in the order of their identifiers."""

    __slots__ = ("_objects",)

    def __init__(self, objects: Mapping[int, str]) -> None:
        """The regular and extended objects are optional: those without text are left out (6.21).

        A character outside ASCII becomes a question mark. Raises ValueError if an object is too long.
        """
        encoded = {number: objects[number].encode("ascii", "replace") for number in sorted(objects)}
        for number, value in encoded.items():
            if len(value) > MAX_OBJECT:
                raise ValueError(
                    f"identification object {number:#04x} takes {len(value)} bytes, over {MAX_OBJECT}"
                )
        self._objects = {
            number: value
            for number, value in encoded.items()
            if value or number <= ObjectId.MAJOR_MINOR_REVISION
        }

    def one(self, number: int) -> bytes | None:
        """Return the reply's PDU after the function code, for one object; None if there is no such object."""
        value = self._objects.get(number)
        if value is None:
            return None
        return (
            bytes((MEI_TYPE, ReadDeviceId.INDIVIDUAL, _CONFORMITY_LEVEL, 0, 0, 1, number, len(value))) + value
        )

    def stream(self, access: ReadDeviceId, first: int) -> bytes:
        """Return the reply's PDU after the function code: the objects from `first` on that fit into it.

        If there is no object `first`, they begin with the first of all, as 6.21 requires.
        """
        last = _LAST_OF[access]
        numbers = [number for number in self._objects if number <= last]
        if first in numbers:
            numbers = numbers[numbers.index(first) :]
        listed = b""
        count = 0
        for number in numbers:
            value = self._objects[number]
            if _HEAD + len(listed) + 2 + len(value) > _MAX_PDU:
                break
            listed += bytes((number, len(value))) + value
            count += 1
        more = (_MORE_FOLLOWS, numbers[count]) if count < len(numbers) else (0, 0)
        return bytes((MEI_TYPE, access, _CONFORMITY_LEVEL, *more, count)) + listed
