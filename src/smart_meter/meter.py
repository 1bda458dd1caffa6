"""One meter: a unit identifier, its registers, and when a sample was complete. Pure: time is an argument."""

from __future__ import annotations

from smart_meter import __version__
from smart_meter.config import MeterConfig
from smart_meter.modbus.functions import Bank
from smart_meter.modbus.identification import Identification, ObjectId
from smart_meter.telemetry import Sample


class Meter:
    """The registers of one unit identifier and the last complete sample in them."""

    __slots__ = ("_addresses", "_timestamp", "_written", "bank", "last_sample", "map", "name", "unit_id")

    def __init__(self, config: MeterConfig, device: str = "") -> None:
        """`device` is the concentrator's own name, for the identification."""
        self.name = config.name
        self.unit_id = config.unit_id
        self.map = config.map
        self.bank = Bank(config.map.start, config.map.quantity, _identification(config, device))
        self.last_sample: Sample | None = None
        self._addresses = config.map.addresses
        timestamp = config.map.timestamp
        self._timestamp = timestamp.name if timestamp else None
        self._written: frozenset[int] = frozenset()

    def written(self, address: int, quantity: int, now: float, wall: float) -> Sample | None:
        """Take note of registers that were written; return the sample that this completes, if it does.

        A sample is complete once every register of the map was written since the last one. A register that is
        written again before belongs to a new sample, which begins with that write.
        now: monotonic seconds. wall: Unix seconds.
        """
        registers = self._addresses.intersection(range(address, address + quantity))
        if registers & self._written:
            self._written = registers
        else:
            self._written |= registers
        if len(self._written) < len(self._addresses):
            return None
        self._written = frozenset()
        values = self.map.decode(self.bank.registers())
        measured = values.pop(self._timestamp) if self._timestamp else None
        self.last_sample = Sample(self.name, values, None if measured is None else int(measured), now, wall)
        return self.last_sample

    def age(self, now: float) -> float | None:
        """Return the seconds since the last sample was complete; None before the first."""
        return None if self.last_sample is None else now - self.last_sample.arrived


def _identification(config: MeterConfig, device: str) -> Identification:
    return Identification(
        {
            ObjectId.VENDOR_NAME: "Smart Meter",
            ObjectId.PRODUCT_CODE: "smart-meter",
            ObjectId.MAJOR_MINOR_REVISION: __version__,
            ObjectId.PRODUCT_NAME: "Smart Meter concentrator",
            ObjectId.MODEL_NAME: "Modbus TCP data concentrator",
            ObjectId.USER_APPLICATION_NAME: device,
            ObjectId.REGISTER_MAP_FINGERPRINT: config.map.fingerprint,
            ObjectId.METER_NAME: config.name,
        }
    )
