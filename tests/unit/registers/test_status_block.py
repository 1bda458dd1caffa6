from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.registers import status_block
from smart_meter.registers.status_block import CORE, FIELDS, NO_AGE, QUANTITY, START, State, Status

uint32 = st.integers(0, 2**32 - 1)


def test_the_block_on_the_wire() -> None:
    added = (4, 0x20005, 6, 7, 8, 0xCAFE0009, 10)
    block = encoded(Status(1, State.STALE, 61, 0x10002, 3, "a6e383d7", 0x12345678, 0b101, *added))
    assert block.hex(" ", 2) == (
        # ver state age     samples   refused   map       sequence  flags
        "0001 0002 0000 003d 0001 0002 0000 0003 a6e3 83d7 1234 5678 0005"
        # partial incomplete thinned   units     changes   generation writers
        " 0000 0004 0002 0005 0000 0006 0000 0007 0000 0008 cafe 0009 000a"
    )


def test_the_first_13_registers_are_those_of_the_first_release() -> None:
    assert [(field.name, field.address) for field in FIELDS if field.end <= CORE] == [
        ("layout_version", 0),
        ("state", 1),
        ("age", 2),
        ("samples", 4),
        ("refused_writes", 6),
        ("fingerprint", 8),
        ("sequence", 10),
        ("out_of_range", 12),
    ]
    assert status_block.LAYOUT_VERSION == 1


def test_the_states_have_the_numbers_that_plc_programs_use() -> None:
    assert {state.name: state.value for state in State} == {
        "WAITING": 0,
        "FRESH": 1,
        "STALE": 2,
        "RESTORED": 3,
    }


def test_the_entries_have_no_gaps() -> None:
    assert FIELDS[0].address == START
    assert all(one.end == next_one.address for one, next_one in pairwise(FIELDS))
    assert FIELDS[-1].end == START + QUANTITY


@st.composite
def statuses(draw: st.DrawFn) -> Status:
    return Status(
        layout_version=status_block.LAYOUT_VERSION,
        state=draw(st.sampled_from(State)),
        age=draw(st.none() | st.integers(0, NO_AGE - 1)),
        samples=draw(uint32),
        refused_writes=draw(uint32),
        fingerprint=f"{draw(uint32):08x}",
        sequence=draw(uint32),
        out_of_range=draw(st.integers(0, 0xFFFF)),
        partial_writes=draw(uint32),
        incomplete_samples=draw(uint32),
        thinned_samples=draw(uint32),
        unknown_units=draw(uint32),
        writer_changes=draw(uint32),
        generation=draw(uint32),
        writers=draw(st.integers(0, 0xFFFF)),
    )


def encoded(status: Status) -> bytes:
    return status_block.encode(
        State(status.state),
        status.age,
        samples=status.samples,
        refused=status.refused_writes,
        fingerprint=status.fingerprint,
        sequence=status.sequence,
        out_of_range=status.out_of_range,
        partial_writes=status.partial_writes or 0,
        incomplete_samples=status.incomplete_samples or 0,
        thinned_samples=status.thinned_samples or 0,
        unknown_units=status.unknown_units or 0,
        writer_changes=status.writer_changes or 0,
        generation=status.generation or 0,
        writers=status.writers or 0,
    )


def block_of(
    age: float | None = 0, samples: int = 0, refused: int = 0, sequence: int = 0, flags: int = 0
) -> bytes:
    return status_block.encode(
        State.FRESH,
        age,
        samples=samples,
        refused=refused,
        fingerprint="00000000",
        sequence=sequence,
        out_of_range=flags,
    )


@given(statuses())
def test_decoding_reverses_encoding(status: Status) -> None:
    block = encoded(status)
    assert len(block) == 2 * QUANTITY
    assert status_block.decode(block) == status


@given(statuses())
def test_every_entry_is_at_the_address_in_the_table(status: Status) -> None:
    block = encoded(status)
    for field in FIELDS:
        value = getattr(status, field.name)
        stored = int(value, 16) if field.name == "fingerprint" else NO_AGE if value is None else value
        assert int.from_bytes(block[2 * field.address : 2 * field.end], "big") == stored


@pytest.mark.parametrize(
    ("age", "stored"),
    [(None, 0xFFFFFFFF), (-0.5, 0), (0.99, 0), (1.0, 1), (1e12, 0xFFFFFFFE), (2**32, 0xFFFFFFFE)],
)
def test_an_age_is_truncated_to_seconds_and_limited(age: float | None, stored: int) -> None:
    assert int.from_bytes(block_of(age)[4:8], "big") == stored


def test_counters_start_again_from_0_after_32_bits() -> None:
    block = block_of(samples=2**32 + 1, refused=2**32 + 2, sequence=2**33 + 3, flags=1 << 16 | 4)
    status = status_block.decode(block)
    assert (status.samples, status.refused_writes, status.sequence, status.out_of_range) == (1, 2, 3, 4)


def test_a_newer_blocks_known_entries_are_read_and_a_short_block_is_refused() -> None:
    block = block_of(samples=1, refused=2, sequence=4)
    assert status_block.decode(block + b"\0\1") == status_block.decode(block)
    with pytest.raises(ValueError, match="26 bytes, not 25"):
        status_block.decode(block[:25])


def test_an_older_concentrators_block_has_no_values_for_what_was_added() -> None:
    block = block_of(samples=1, refused=2, sequence=4)
    whole, older = status_block.decode(block), status_block.decode(block[: 2 * CORE])
    assert older[:8] == whole[:8]
    assert older[8:] == (None,) * 7
    assert whole[8:] == (0,) * 7


def test_more_writers_than_a_register_counts_are_all_that_it_can_count() -> None:
    block = status_block.encode(
        State.FRESH, 0, samples=0, refused=0, fingerprint="0", sequence=0, writers=70000, partial_writes=2**32
    )
    status = status_block.decode(block)
    assert (status.writers, status.partial_writes) == (65535, 0)


@pytest.mark.parametrize(
    ("state", "age", "expected"),
    [
        (State.WAITING, None, "waiting, no sample yet"),
        (State.FRESH, 0.5, "fresh, last sample 0 s ago"),
        (State.STALE, 75, "stale, last sample 75 s ago"),
        (State.RESTORED, None, "restored, of unknown age"),
        (State.RESTORED, 7, "restored, last sample 7 s ago"),
    ],
)
def test_a_status_is_described_for_people(state: State, age: float | None, expected: str) -> None:
    block = status_block.encode(state, age, samples=0, refused=0, fingerprint="0", sequence=0)
    status = status_block.decode(block)
    assert status_block.describe(status) == expected
    assert status_block.describe(status._replace(state=9)).startswith("in state 9, ")
