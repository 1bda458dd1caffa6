"""What the writers that lose replies send, and what counts as a mixed sample."""

import struct

from soak.retries import REGISTERS, Reader, is_mixed, orders


def test_each_order_sends_each_register_once() -> None:
    found = orders(7)
    assert found["ascending"] == tuple(range(REGISTERS))
    assert found["descending"] == tuple(reversed(range(REGISTERS)))
    assert len(set(found.values())) == 3
    assert {tuple(sorted(order)) for order in found.values()} == {tuple(range(REGISTERS))}
    assert orders(7) == found


def test_registers_of_two_cycles_are_mixed() -> None:
    assert not is_mixed(struct.pack(">8H", *[41] * 8))
    assert is_mixed(struct.pack(">8H", *[42] * 3, *[41] * 5))


def test_no_registers_are_not_of_one_cycle() -> None:
    assert is_mixed(b"")


def test_a_read_that_returns_no_sample_is_wrong_and_a_sample_counts_once() -> None:
    reader = Reader(port=502, units=1)
    sample, mixed = struct.pack(">8H", *[41] * 8), struct.pack(">8H", *[42] * 3, *[41] * 5)
    for registers in (sample, sample, b"", mixed):
        reader.take(1, registers)
    assert (reader.wrong, reader.mixed, reader.cycles) == (1, 1, {1: {sample}})
