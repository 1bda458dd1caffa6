"""The rows of a history are compared with the acknowledged samples."""

from __future__ import annotations

import struct

import pytest
from bench.samples import PRESET, differences, sample

FIRST = struct.pack(">8H", *PRESET)


def test_a_samples_registers_all_come_from_its_number() -> None:
    registers = struct.unpack(">6HI", sample(0x0001_FFFF))

    assert registers == (0xFFFF, 0x0001, 0xA5A5, 0xA5A4, 0x552A, 0x0000, 1_700_131_071)


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
