"""The status block: a meter's state and counters, as input registers (function code 04) of its unit.

It has the same addresses for every meter. A number of two registers has its high word first, whatever the
word order of the meter's own measurements. Pure: the values are arguments.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from smart_meter.registers.data_types import DataType

START = 0
QUANTITY = 26
CORE = 13
"""How many registers the block had at first: all that an older concentrator answers with."""
LAYOUT_VERSION = 1
"""Changes if a register gets another meaning; registers added after the last one do not change it."""
NO_AGE = 0xFFFF_FFFF
"""The age of a meter that never had a sample."""
MAX_AGE = NO_AGE - 1
FLAGS = 16
"""How many measurements of a map have an out-of-range flag: the first ones."""

_MASK16 = 0xFFFF
_MASK32 = 0xFFFF_FFFF
_CORE = struct.Struct(">HHIIIIIH")
_ADDED = struct.Struct(">IIIIIIH")
_BLOCK = struct.Struct(">HHIIIIIHIIIIIIH")


class State(enum.IntEnum):
    """How fresh a meter's values are, by the arrival of its last complete sample."""

    WAITING = 0
    """No sample yet."""
    FRESH = 1
    """The last sample arrived less than `stale_after` seconds ago."""
    STALE = 2
    """It arrived `stale_after` seconds ago or longer."""
    RESTORED = 3
    """The values are from before a restart, and no sample has arrived since."""


class Field(NamedTuple):
    """One entry of the block."""

    name: str
    address: int
    type: DataType
    unit: str
    meaning: str

    @property
    def width(self) -> int:
        """Return how many registers the entry takes."""
        return self.type.width

    @property
    def end(self) -> int:
        """Return the first register address after the entry."""
        return self.address + self.width


FIELDS = (
    Field("layout_version", 0, DataType.UINT16, "", f"version of this block's layout: {LAYOUT_VERSION}"),
    Field(
        "state", 1, DataType.UINT16, "", ", ".join(f"{state.value} {state.name.lower()}" for state in State)
    ),
    Field(
        "age",
        2,
        DataType.UINT32,
        "s",
        "time since the last complete sample; 0xFFFFFFFF: none yet, or not known",
    ),
    Field("samples", 4, DataType.UINT32, "", "complete samples received since the concentrator started"),
    Field(
        "refused_writes",
        6,
        DataType.UINT32,
        "",
        "writes since the concentrator started that got an exception and wrote nothing",
    ),
    Field("fingerprint", 8, DataType.UINT32, "", "fingerprint of the register map"),
    Field(
        "sequence",
        10,
        DataType.UINT32,
        "",
        "number of the last sample; goes on over restarts where a history is kept",
    ),
    Field(
        "out_of_range",
        12,
        DataType.UINT16,
        "",
        "bit i: the map's measurement i (the first 16) is out of range",
    ),
    Field(
        "partial_writes",
        13,
        DataType.UINT32,
        "",
        "writes that changed what readers get without completing a sample",
    ),
    Field(
        "incomplete_samples", 15, DataType.UINT32, "", "samples that were dropped before they were complete"
    ),
    Field(
        "thinned_samples",
        17,
        DataType.UINT32,
        "",
        "samples left out of the history, as their writer sent more than its share",
    ),
    Field(
        "unknown_units",
        19,
        DataType.UINT32,
        "",
        "requests for a unit identifier that no meter has; the same in every meter's block",
    ),
    Field("writer_changes", 21, DataType.UINT32, "", "times that another client's address began to write"),
    Field("generation", 23, DataType.UINT32, "", "generation of the history; 0: no history, or not open yet"),
    Field("writers", 25, DataType.UINT16, "", "client addresses that wrote within the last 60 s"),
)
"""Every entry, by address, without gaps."""


class Status(NamedTuple):
    """A status block's values."""

    layout_version: int
    state: int
    """A value of `State`, or another number if the block is from a newer concentrator."""
    age: int | None
    """Whole seconds; None: no sample yet, or not known."""
    samples: int
    refused_writes: int
    fingerprint: str
    """8 hexadecimal digits."""
    sequence: int
    out_of_range: int
    """Bit i is the map's measurement i."""
    partial_writes: int | None = None
    """None, like all that follow, if the concentrator is older than the field."""
    incomplete_samples: int | None = None
    thinned_samples: int | None = None
    unknown_units: int | None = None
    writer_changes: int | None = None
    generation: int | None = None
    writers: int | None = None


def describe(status: Status) -> str:
    """Return a status for people, such as `stale, last sample 75 s ago`."""
    state = State(status.state).name.lower() if status.state in list(State) else f"in state {status.state}"
    if status.age is not None:
        return f"{state}, last sample {status.age} s ago"
    return f"{state}, no sample yet" if status.state == State.WAITING else f"{state}, of unknown age"


def encode(
    state: State,
    age: float | None,
    *,
    samples: int,
    refused: int,
    fingerprint: str,
    sequence: int,
    out_of_range: int = 0,
    partial_writes: int = 0,
    incomplete_samples: int = 0,
    thinned_samples: int = 0,
    unknown_units: int = 0,
    writer_changes: int = 0,
    generation: int = 0,
    writers: int = 0,
) -> bytes:
    """Return the 52 bytes of the block in wire order.

    age: in seconds, truncated and limited to 0 to `MAX_AGE`; None: no sample yet, or unknown.
    samples, refused (writes), sequence and the counters after `out_of_range`: start again from 0 after
    4,294,967,295.
    fingerprint: 8 hexadecimal digits, from `RegisterMap.fingerprint`.
    out_of_range: bit i is the map's measurement i; bits after the first 16 are ignored.
    writers: limited to 65,535.
    """
    return _BLOCK.pack(
        LAYOUT_VERSION,
        state,
        NO_AGE if age is None else 0 if age < 0 else MAX_AGE if age > MAX_AGE else int(age),
        samples & _MASK32,
        refused & _MASK32,
        int(fingerprint, 16),
        sequence & _MASK32,
        out_of_range & _MASK16,
        partial_writes & _MASK32,
        incomplete_samples & _MASK32,
        thinned_samples & _MASK32,
        unknown_units & _MASK32,
        writer_changes & _MASK32,
        generation & _MASK32,
        min(writers, _MASK16),
    )


def decode(data: bytes) -> Status:
    """Return the values of a block; bytes after the first 52 are ignored.

    With fewer than 52 bytes it is an older concentrator's. Raises ValueError if there are fewer than 26.
    """
    if len(data) < _CORE.size:
        raise ValueError(f"a status block has at least {_CORE.size} bytes, not {len(data)}")
    version, state, age, samples, refused, fingerprint, sequence, flags = _CORE.unpack_from(data)
    known_age = None if age == NO_AGE else age
    added = _ADDED.unpack_from(data, _CORE.size) if len(data) >= _BLOCK.size else ()
    return Status(version, state, known_age, samples, refused, f"{fingerprint:08x}", sequence, flags, *added)
