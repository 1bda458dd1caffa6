"""The rows of a history are compared with the acknowledged samples."""

from __future__ import annotations

import struct

import pytest
from bench.samples import PRESET, compare, differences, sample
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.registers.register_map import PV_MAP

FIRST = struct.pack(">8H", *PRESET)


def test_a_samples_registers_all_come_from_its_number() -> None:
    registers = struct.unpack(">6HI", sample(0x0001_FFFF))

    assert registers == (11089, 2233, 3655, 4518, 585, 790, 1_700_131_071)


def test_no_register_of_a_sample_is_that_of_a_sample_nearby() -> None:
    registers = [struct.unpack(">6HI", sample(number)) for number in range(100_000, 100_997)]

    assert [len(set(values)) for values in zip(*registers, strict=True)] == [997] * 7


@given(st.integers(0, 2**32 - 1 - 1_700_000_000))
def test_every_sample_is_in_the_ranges_of_the_default_map(number: int) -> None:
    for registers in (sample(number), FIRST):
        assert PV_MAP.out_of_range(struct.unpack(">8H", registers)) == []


def test_rows_in_any_order_that_are_all_that_was_written_do_not_differ() -> None:
    assert differences([FIRST, sample(2), sample(0), sample(1)], written=3) == 0


@pytest.mark.parametrize(
    ("rows", "difference"),
    [
        ([], 4),
        ([FIRST, sample(0), sample(1)], 1),
        ([sample(0), sample(1), sample(2)], 1),
        ([FIRST, sample(0), sample(1), sample(2), sample(2)], 1),
        ([FIRST, sample(0), sample(1), sample(2), sample(3)], 1),
        ([FIRST, sample(0), sample(1), sample(1)], 2),
    ],
)
def test_what_is_missing_twice_there_or_never_written_differs(rows: list[bytes], difference: int) -> None:
    assert differences(rows, written=3) == difference


def test_a_torn_row_is_a_wrong_and_a_missing_one() -> None:
    torn = sample(1)[:8] + sample(0)[8:]

    assert differences([FIRST, sample(0), torn], written=2) == 2


def test_a_mixed_row_is_wrong_and_a_sample_without_a_row_is_missing() -> None:
    torn = sample(1)[:8] + sample(0)[8:]

    assert compare([FIRST, sample(0), torn], begun=3) == (1, 2)
    assert compare([FIRST, FIRST, sample(0)], begun=1) == (1, 0)
    assert compare([sample(0)], begun=1) == (0, 1)
