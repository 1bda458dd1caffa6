from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.registers import status_block
from smart_meter.registers.status_block import FIELDS, NO_AGE, QUANTITY, START, State, Status

uint32 = st.integers(0, 2**32 - 1)


def test_the_block_on_the_wire() -> None:
    block = encoded(Status(1, State.STALE, 61, 0x10002, 3, "a6e383d7", 0x12345678, 0b101))
    #                       ver  state age       samples   refused   map       sequence  flags
    assert block.hex(" ", 2) == "0001 0002 0000 003d 0001 0002 0000 0003 a6e3 83d7 1234 5678 0005"


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
        status_block.decode(block[:-1])


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
