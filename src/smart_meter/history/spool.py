"""The spool: samples that are not on the card yet also lie in a file in memory, which outlives the process.

The thread that receives samples writes them through a shared mapping, without a system call. The kernel keeps
the pages when the process is killed; a power cut loses them. Each commit records up to which number samples
are stored, in the database and here, so that a start replays the others exactly once.

The file consists of a header and blocks. A block holds records, one behind the other, with numbers that grow;
samples name their meter by a key, which an earlier record of the same block defines. A block is written again
once all its samples are stored. A reader stops at the first record that is torn or of the block's former use.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from smart_meter.config import MeterConfig
from smart_meter.history.maps import define, parse
from smart_meter.registers.layout import Layout

NAME = "spool"
BLOCK = 256 * 1024
"""Bytes. Blocks take memory once they are used, and with a few meters two of them are."""
BLOCKS = 64
_FIRST = mmap.PAGESIZE
"""Where the blocks begin."""
SIZE = _FIRST + BLOCKS * BLOCK
_MAGIC = b"SMSPOOL1"
_HEADER = struct.Struct("8s64sQ")
"""Magic, boot identifier, the spool's identifier; a checksum follows."""
_COMMITTED_AT = 128
_NUMBER = struct.Struct("@Q")
"""Native and aligned, so that it is written at once."""
_CHECKSUM = struct.Struct("=I")
_START = struct.Struct("@IIQ")
"""How each record begins: its size with the checksum, the meter's key, its number."""
_SAMPLE = "@IIQdqqIi{}sI"
"""The same of a sample; then arrival (s), clock offset (µs), measurement (s), flags, client and registers.

A checksum of the registers comes last. It begins with the number, which differs in each use of a block.
"""
_DEFINES = 0x8000_0000
"""Set in the key of a record that defines a meter; its number is the next sample's."""
_NOT_MEASURED = -(2**63)


class SpoolError(Exception):
    """The file is not a spool of this boot; the text gives the reason."""


class Found(NamedTuple):
    """A sample that a start found."""

    number: int
    meter: MeterConfig
    arrived: float
    """Monotonic seconds."""
    offset: int
    """Microseconds that the wall clock was ahead of the monotonic one."""
    measured: int | None
    flags: int
    client: int
    registers: bytes
    """Without those in the map's gaps."""


_Format = tuple[Callable[..., None], int]
"""What writes a meter's sample, and its size."""


class Spool:
    """An open spool. One thread writes samples, another marks them as stored."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Raises OSError, or SpoolError for another file's content."""
        self.path = path
        self.offset = 0
        """The clock offset of the next samples, in microseconds."""
        self.lacks_room = False
        """Whether the file system had no room for a block, so that samples are missing."""
        if os.fstat(descriptor).st_size != SIZE:
            raise SpoolError("it has another size")
        self._map = mmap.mmap(descriptor, SIZE)
        self._descriptor = os.dup(descriptor)
        try:
            self.boot, self.id = self._identify()
        except SpoolError:
            self.close()
            raise
        [self.committed] = _NUMBER.unpack_from(self._map, _COMMITTED_AT)
        """The number up to which samples are stored."""
        self.last = self.committed
        """The number of the last sample that `find` returned."""
        self._ends = [0] * BLOCKS
        """The last number in each block."""
        self._bases = [(0, 0)]
        """From a ticket on, what a number is more than its ticket."""
        self._base = 0
        self._block = -1
        self._place = self._end = 0
        """Where the next record begins, and where the block ends."""
        self._formats: dict[int, _Format] = {}
        """By the keys that this block defines."""
        self._meters: dict[int, MeterConfig] = {}
        self._packed: dict[int, bytes] = {}
        """What defines them in a block, once that was needed."""

    @classmethod
    def create(cls, path: Path, boot: str) -> Spool:
        """Make an empty spool in place of whatever has that path. Raises OSError."""
        made = path.with_name(f".{path.name}")
        with contextlib.suppress(FileNotFoundError):
            made.unlink()
        descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            header = _HEADER.pack(_MAGIC, boot.encode()[:64], int.from_bytes(os.urandom(8)) >> 1)
            os.posix_fallocate(descriptor, 0, _FIRST)
            os.ftruncate(descriptor, SIZE)
            os.pwrite(descriptor, header + _CHECKSUM.pack(crc32(header)), 0)
            made.rename(path)
            return cls(path, descriptor)
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: Path, boot: str) -> Spool | None:
        """Open the spool of an earlier run; None if there is none. Raises OSError or SpoolError."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SpoolError("it is not a file")
            spool = cls(path, descriptor)
        finally:
            os.close(descriptor)
        if spool.boot != boot:
            spool.close()
            raise SpoolError("it is of another boot")
        return spool

    def _identify(self) -> tuple[str, int]:
        header = self._map[: _HEADER.size]
        magic, boot, number = _HEADER.unpack(header)
        [checksum] = _CHECKSUM.unpack_from(self._map, _HEADER.size)
        if magic != _MAGIC or checksum != crc32(header):
            raise SpoolError("it is another program's, or damaged")
        return boot.rstrip(b"\0").decode(errors="replace"), number

    def close(self) -> None:
        """Close the file; it stays."""
        self._map.close()
        os.close(self._descriptor)

    def remove(self) -> None:
        """Close the file and delete it: all samples are stored."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def find(self) -> list[Found]:
        """Return the samples that are here, in order; some are stored already.

        Blocks with none but stored samples may be left out. Call it once, before the first `write`.
        """
        begins = sorted(
            (number, block) for block in range(BLOCKS) if (number := self._first_number(block)) is not None
        )
        found: list[Found] = []
        for place, (_, block) in enumerate(begins):
            following = begins[place + 1][0] if place + 1 < len(begins) else None
            if following is not None and following <= self.committed + 1:
                continue
            samples = list(self._read(block))
            found += samples
            self._ends[block] = samples[-1].number if samples else 0
        self.last = max(self.last, found[-1].number if found else 0)
        return found

    def continue_with(self, numbers: list[int]) -> None:
        """Give the samples with these numbers, in order, the tickets from 1 on."""
        self._bases = [(0, numbers[0] - 1 if numbers else self.last)]
        for ticket, number in enumerate([*numbers, self.last + 1], 1):
            if ticket + self._bases[-1][1] != number:
                self._bases.append((ticket, number - ticket))
        self._base = self._bases[-1][1]

    def number(self, ticket: int) -> int:
        """Return the number of a sample that got this ticket."""
        return next(ticket + base for first, base in reversed(self._bases) if ticket >= first)

    def mark_committed(self, number: int) -> None:
        """Record that samples up to this number are stored."""
        if number > self.committed:
            _NUMBER.pack_into(self._map, _COMMITTED_AT, number)
            self.committed = number

    def define(self, key: int, meter: MeterConfig) -> None:
        """Announce which meter a key stands for; keys are from 0 to 2**31 - 1."""
        self._meters[key] = meter

    def write(  # noqa: PLR0917 - keywords would cost time at each sample
        self,
        ticket: int,
        key: int,
        now: float,
        registers: bytes,
        measured: int | None,
        flags: int,
        client: int,
    ) -> None:
        """Write a sample. registers: without those in the map's gaps."""
        place = self._place
        known = self._formats.get(key)
        if known is None or place + known[1] > self._end:
            known = self._make_room(key, len(registers), ticket + self._base)
            if known is None:
                return
            place = self._place
        put, size = known
        number = ticket + self._base
        if measured is None:
            measured = _NOT_MEASURED
        check = crc32(registers, number)
        put(self._map, place, size, key, number, now, self.offset, measured, flags, client, registers, check)
        self._place = place + size

    def _make_room(self, key: int, registers: int, number: int) -> _Format | None:
        """Begin another block if this one is full, and define the meter in it; None if it can't."""
        sample = struct.Struct(_SAMPLE.format(registers))
        packed = self._packed.get(key)
        if packed is None:
            packed = self._packed[key] = _pack(self._meters[key])
        size = _START.size + len(packed) + _CHECKSUM.size
        needed = size + sample.size
        if needed > BLOCK:
            return None
        if self._place + needed > self._end and not self._begin_block(number):
            return None
        if key not in self._formats:
            body = _START.pack(size, key | _DEFINES, number) + packed
            struct.pack_into(f"@{len(body)}sI", self._map, self._place, body, crc32(body))
            self._place += size
            self._formats[key] = sample.pack_into, sample.size
        return self._formats[key]

    def _begin_block(self, number: int) -> bool:
        """Begin the first block whose samples are stored, or the one with the oldest."""
        if self._block >= 0:
            self._ends[self._block] = number - 1
        others = [block for block in range(BLOCKS) if block != self._block]
        free = (block for block in others if self._ends[block] <= self.committed)
        block = next(free, None)
        if block is None:
            block = min(others, key=lambda block: self._ends[block])
        start = _FIRST + block * BLOCK
        try:
            # A page that can't be allocated when it is written to would end the process.
            os.posix_fallocate(self._descriptor, start, BLOCK)
        except OSError:
            self.lacks_room = True
            return False
        self.lacks_room = False
        self._block, self._place, self._end = block, start, start + BLOCK
        self._ends[block] = 2**64
        self._formats = {}
        return True

    def _first_number(self, block: int) -> int | None:
        for _, number, _ in self._records(block):
            return number
        return None

    def _records(self, block: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield key, number and bytes of each record, up to the first of the block's former use.

        The first of them defines a meter. The checksums of samples are not checked.
        """
        place = start = _FIRST + block * BLOCK
        end = start + BLOCK
        least, most = 1, 2**63
        while place + _START.size + _CHECKSUM.size <= end:
            size, key, number = _START.unpack_from(self._map, place)
            if size < _START.size + _CHECKSUM.size or place + size > end or not least <= number <= most:
                return
            record = self._map[place : place + size]
            if key & _DEFINES:
                if _CHECKSUM.unpack(record[-4:]) != (crc32(record[:-4]),):
                    return
            elif place == start:
                return
            yield key, number, record
            place, least, most = place + size, number, number + 2**31

    def _read(self, block: int) -> Iterator[Found]:
        """Yield a block's samples, up to the first record that is torn or of the block's former use."""
        known: dict[int, tuple[MeterConfig, struct.Struct]] = {}
        for key, number, record in self._records(block):
            if key & _DEFINES:
                try:
                    meter = _meter(record[_START.size : -_CHECKSUM.size])
                except (ValueError, TypeError, zlib.error):
                    # Of another release.
                    return
                known[key ^ _DEFINES] = meter, struct.Struct(_SAMPLE.format(Layout(meter.map).size))
                continue
            if key not in known or len(record) != known[key][1].size:
                return
            meter, form = known[key]
            _, _, _, arrived, offset, measured, flags, client, registers, checksum = form.unpack(record)
            if checksum != crc32(registers, number):
                return
            at = None if measured == _NOT_MEASURED else measured
            yield Found(number, meter, arrived, offset, at, flags, client, registers)


def _pack(meter: MeterConfig) -> bytes:
    text = json.dumps([meter.name, meter.unit_id, define(meter.map)])
    packed = zlib.compress(text.encode(), 1)
    return packed + bytes(-len(packed) % _CHECKSUM.size)


def _meter(packed: bytes) -> MeterConfig:
    """Return the meter that `_pack` packed. Raises ValueError, TypeError or zlib.error."""
    name, unit, definition = json.loads(zlib.decompressobj().decompress(packed))
    return MeterConfig(str(name), int(unit), parse(definition))
