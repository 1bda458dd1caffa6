"""One meter: a unit identifier, its registers, and how fresh they are.

Pure: the time is an argument, and what happened is returned as events.
"""

from __future__ import annotations

import math
import struct

from smart_meter import __version__
from smart_meter.config import MeterConfig, OnStale, OutOfRange, Publish
from smart_meter.meters.events import BecameFresh, BecameStale, OverBudget, SampleCompleted, ValueRefused
from smart_meter.meters.sample import Sample
from smart_meter.meters.statistics import SharedStatus
from smart_meter.modbus.functions import Bank, Events, ExceptionCode, whole_write_head
from smart_meter.modbus.identification import Identification, ObjectId
from smart_meter.registers import status_block
from smart_meter.registers.ranges import MapRanges
from smart_meter.registers.register_map import Measurement
from smart_meter.registers.status_block import State
from smart_meter.registers.word_order import WordOrder

OUT_OF_RANGE = 1
"""A sample's flag: at least one value lies outside its measurement's minimum and maximum."""


# A member of an enumeration costs a look-up each time.
_FRESH = State.FRESH
_BIG = WordOrder.BIG
_UINT32 = struct.Struct(">I")
_WORDS = struct.Struct(">HH")
_NOTHING: frozenset[int] = frozenset()


class Meter(Bank):
    """The registers of one unit identifier and the last complete sample in them."""

    __slots__ = (
        "_addresses",
        "_completed",
        "_config",
        "_fingerprint",
        "_mask",
        "_out_of_range",
        "_published",
        "_refuses",
        "_sentinels",
        "_sequence",
        "_shared",
        "_timestamp",
        "_timestamp_place",
        "_written",
        "arrived",
        "busy",
        "due",
        "flags",
        "incomplete_samples",
        "map",
        "name",
        "partial_writes",
        "refused",
        "sample_head",
        "samples",
        "stale_after",
        "state",
        "thinned",
        "unit_id",
        "version",
        "writer_changes",
        "writers",
    )

    def __init__(self, config: MeterConfig, device: str = "", shared: SharedStatus | None = None) -> None:
        """device: the concentrator's own name, for the identification. shared: by all meters."""
        super().__init__(config.map.start, config.map.quantity, _identification(config, device))
        self._config = config
        self.stale_after = config.stale_after or math.inf
        """Seconds after which a sample is too old."""
        self.name = config.name
        self.unit_id = config.unit_id
        self.map = config.map
        self._completed: tuple[int, Events] = 0, (SampleCompleted(config.name),)
        """The result of nearly every write, made once."""
        self.sample_head = whole_write_head(self.start, self.end - self.start)
        """How a request that writes a whole sample begins: what follows the unit identifier."""
        self._addresses = config.map.addresses
        self._fingerprint = config.map.fingerprint
        ranges = MapRanges(config.map)
        self._out_of_range = ranges.out_of_range if ranges else _nothing_out_of_range
        self._refuses = config.out_of_range is OutOfRange.REFUSE
        timestamp = config.map.timestamp
        self._timestamp = timestamp
        self._timestamp_place = _timestamp_place(config)
        self._written = _NOTHING
        self._published = bytearray(len(self.data)) if config.publish is Publish.COMPLETE else self.data
        self._sentinels = _sentinels(config) if config.on_stale is OnStale.SENTINEL else None
        self.version = 0
        """Changes with whatever changes what is read."""
        self.flags = 0
        self._mask = 0
        """Which of the values that readers get are out of range: bit i is the map's measurement i."""
        self._sequence = 0
        """The last sample's number before the start."""
        self.busy = False
        """Whether a write that would complete a sample is refused: its client is over its budget."""
        self._shared = shared or SharedStatus()
        self._count_from_zero()
        self.state = State.WAITING
        self.arrived = -math.inf
        """When the last sample was complete, in monotonic seconds; minus infinity before the first."""
        self.due = math.inf
        """When the sample will be too old, in monotonic seconds."""
        self._show_stale()

    def _count_from_zero(self) -> None:
        self.samples = 0
        """Complete samples since the start."""
        self.refused = 0
        """Writes that were refused since the start; counted by the dispatcher."""
        self.partial_writes = 0
        """Writes since the start that changed what readers get without completing a sample."""
        self.incomplete_samples = 0
        """Samples that were dropped since the start before they were complete."""
        self.thinned = 0
        """Samples that were left out of the history since the start."""
        self.writer_changes = 0
        """Times since the start that another address began to write."""
        self.writers = 0
        """Addresses that wrote within the last 60 s."""

    # What clients do

    def store(self, values: bytes | bytearray, now: float) -> tuple[int, Events]:
        """Store a whole sample; return 0, or exception code 03 if a value is out of range and may not be.

        The code is 06 if the meter is `busy`. With it comes what happened. values: every register of the
        span, in wire order. now: monotonic seconds.
        """
        mask = self._out_of_range(values)
        if mask and self._refuses:
            refused = self._refused_value(values, mask, self._addresses)
            if refused is not None:
                return ExceptionCode.ILLEGAL_DATA_VALUE, (refused,)
        if self.busy:
            return ExceptionCode.SERVER_DEVICE_BUSY, (OverBudget(self.name),)
        self.data[:] = values
        self.version += 1
        if self._written:
            self._written = _NOTHING
        self.samples += 1
        self.arrived = now
        self.due = now + self.stale_after
        self._mask = mask
        self.flags = OUT_OF_RANGE if mask else 0
        if self._published is not self.data:
            self._published[:] = values
        if self.state is _FRESH:
            return self._completed
        recovered = self.state is State.STALE
        self.state = State.FRESH
        self._show_values()
        return (0, (*self._completed[1], BecameFresh(self.name))) if recovered else self._completed

    def write(
        self, address: int, values: bytes, now: float, *, then_read: bool = False
    ) -> tuple[int, Events]:
        """Store registers; return 0, or the exception code if nothing is stored, and what happened.

        It is 03 for a value that is out of range. now: monotonic seconds. then_read: whether the same
        request reads registers afterwards; if stale values are answered with an exception, the write has to
        complete a sample.

        A sample is complete once every register of the map was written since the last one. A register that is
        written again before belongs to a new sample, which begins with that write.
        """
        size = len(values)
        data = self.data
        if size == len(data):
            return self.store(values, now)
        first = 2 * (address - self.start)
        touched = self._addresses.intersection(range(address, address + size // 2))
        written = touched if touched & self._written else touched | self._written
        image = data[:first] + values + data[first + size :]
        if len(written) == len(self._addresses):
            return self.store(image, now)
        mask = self._out_of_range(image)
        if mask and self._refuses:
            refused = self._refused_value(image, mask, written)
            if refused is not None:
                return ExceptionCode.ILLEGAL_DATA_VALUE, (refused,)
        if then_read and self.failure:
            # Only a complete sample makes the meter fresh, so that it can be read.
            return self.failure, ()
        self._written = written
        data[:] = image
        if self._published is data:
            self._mask = mask
        self.version += 1
        return 0, ()

    def input_registers(self, now: float) -> bytes:
        """Return the status block: it is read as input registers. now: monotonic seconds."""
        return status_block.encode(
            self.state,
            self.age(now),
            samples=self.samples,
            refused=self.refused,
            fingerprint=self._fingerprint,
            sequence=self.sequence,
            out_of_range=self._mask,
            partial_writes=self.partial_writes,
            incomplete_samples=self.incomplete_samples,
            thinned_samples=self.thinned,
            unknown_units=self._shared.unknown_units,
            writer_changes=self.writer_changes,
            generation=self._shared.generation,
            writers=self.writers,
        )

    @property
    def sequence(self) -> int:
        """Return the last sample's number."""
        return self._sequence + self.samples

    # What time does

    def check(self, now: float) -> BecameStale | None:
        """Mark an overdue sample as stale; return that it just became so. now: monotonic seconds."""
        if now < self.due:
            return None
        self.due = math.inf
        self.state = State.STALE
        self._show_stale()
        return BecameStale(self.name, self.age(now))

    def age(self, now: float) -> float | None:
        """Return the seconds since the last sample was complete; None before the first."""
        return None if self.arrived == -math.inf else now - self.arrived

    # What is kept over a restart or a new configuration

    def restore(self, registers: bytes, flags: int, age: float | None, sequence: int, now: float) -> None:
        """Take the last values of an earlier run. `age` in seconds; None: nobody knows, so they are too old.

        registers: the whole span, in wire order. now: monotonic seconds.
        """
        if len(registers) != len(self.data):
            return
        self.data[:] = registers
        self._published[:] = registers
        self.flags = flags
        self._mask = self._out_of_range(registers)
        self._sequence = sequence - self.samples
        self.state = State.RESTORED
        if age is not None:
            self.arrived = now - age
        if self.stale_after == math.inf or (age is not None and age < self.stale_after):
            self._show_values()
            self.due = self.arrived + self.stale_after if age is not None else math.inf

    def number_from(self, sequence: int) -> None:
        """Number the next samples from a number on, unless the meter has reached a higher one."""
        self._sequence = max(self._sequence, sequence - self.samples)

    def take_over(self, earlier: Meter, now: float) -> None:
        """Go on where a meter of an earlier configuration stood: no value is lost. now: monotonic seconds."""
        self.samples = earlier.samples
        self.refused = earlier.refused
        self.partial_writes = earlier.partial_writes
        self.incomplete_samples = earlier.incomplete_samples
        self.thinned = earlier.thinned
        self.writer_changes = earlier.writer_changes
        self.writers = earlier.writers
        self._sequence = earlier._sequence
        self.flags = earlier.flags
        self.arrived = earlier.arrived
        if earlier.map.fingerprint == self.map.fingerprint:
            self.data[:] = earlier.data
            self._published[:] = earlier._published
            self._written = earlier._written
        else:
            self.data[:] = self._translated(earlier, earlier.data)
            if self._published is not self.data:
                self._published[:] = self._translated(earlier, earlier._published)
        self._mask = self._out_of_range(self._published)
        self.state = earlier.state
        if self.state is State.WAITING:
            return
        self.due = self.arrived + self.stale_after
        if now < self.due:
            if self.state is State.STALE:
                self.state = State.FRESH
            self._show_values()
        else:
            self.due = math.inf
            if self.state is State.FRESH:
                self.state = State.STALE

    # What others ask for

    def last_sample(self, wall: float) -> Sample:
        """Return the sample that was completed last. wall: Unix seconds when it arrived."""
        registers = self.registers()
        values = self.map.values(registers)
        measured = values.pop(self._timestamp.name) if self._timestamp else None
        return Sample(
            self.name,
            values,
            None if measured is None else int(measured),
            self.arrived,
            wall,
            frozenset(self.map.out_of_range(registers)),
        )

    def measured(self) -> int | None:
        """Return the Unix seconds of the map's timestamp as the registers have them; None: there is none."""
        place = self._timestamp_place
        if place is None:
            return None
        offset, word_order = place
        # This is the hot path of every write: `Measurement.decode` takes several times as long.
        if word_order is _BIG:
            return _UINT32.unpack_from(self.data, offset)[0]  # type: ignore[no-any-return]  # struct has no types
        low, high = _WORDS.unpack_from(self.data, offset)
        return high << 16 | low  # type: ignore[no-any-return]  # as above

    def _show_values(self) -> None:
        self.version += 1
        self.view = self._published
        self.failure = 0

    def _show_stale(self) -> None:
        policy = self._config.on_stale
        self._show_values()
        if policy is OnStale.EXCEPTION:
            self.failure = ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND
        elif self._sentinels is not None:
            self.view = bytearray(self._published)
            for first, registers in self._sentinels:
                self.view[first : first + len(registers)] = registers

    def _refused_value(
        self, image: bytes | bytearray, mask: int, written: frozenset[int]
    ) -> ValueRefused | None:
        """Return the first value that `written` completes and that is out of range; None: there is none.

        "No value" is not refused: the sample's other values would be lost with it. mask: bit i is set if the
        map's measurement i is out of range.
        """
        for index, measurement in enumerate(self.map.measurements):
            if mask >> index & 1 and written.issuperset(range(measurement.address, measurement.end)):
                registers = self._registers_of(measurement, image)
                if not measurement.is_no_value(registers):
                    return ValueRefused(self.name, measurement, measurement.decode(registers))
        return None

    def _registers_of(self, measurement: Measurement, image: bytes | bytearray) -> tuple[int, ...]:
        first = 2 * (measurement.address - self.start)
        return struct.unpack_from(f">{measurement.width}H", image, first)

    def _translated(self, earlier: Meter, image: bytearray) -> bytes:
        """Return another map's registers as this one's: each measurement keeps its value, by its name."""
        registers = struct.unpack(f">{len(image) // 2}H", image)
        translated = [0] * self.map.quantity
        values = earlier.map.decode(registers)
        for measurement in self.map.measurements:
            if measurement.name not in values:
                continue
            try:
                encoded = measurement.encode(values[measurement.name])
            except ValueError:
                # The new registers can't hold it: they stay 0 until the next sample.
                continue
            first = measurement.address - self.start
            translated[first : first + measurement.width] = encoded
        return struct.pack(f">{len(translated)}H", *translated)


def _nothing_out_of_range(_: bytes | bytearray) -> int:
    return 0


def _timestamp_place(config: MeterConfig) -> tuple[int, WordOrder] | None:
    """Return the timestamp's offset in bytes and its word order; None if the map has none."""
    timestamp = config.map.timestamp
    if timestamp is None:
        return None
    return 2 * (timestamp.address - config.map.start), timestamp.word_order


def _sentinels(config: MeterConfig) -> list[tuple[int, bytes]]:
    """Return offset in bytes and registers of each measurement's "no value"."""
    found = []
    for measurement in config.map.measurements:
        registers = measurement.sentinel_registers()
        if registers is not None:
            data = struct.pack(f">{len(registers)}H", *registers)
            found.append((2 * (measurement.address - config.map.start), data))
    return found


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
