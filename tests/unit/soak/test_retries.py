"""What the writers that lose replies send, and what counts as a mixed sample."""

import struct

from soak.retries import REGISTERS, is_mixed, orders


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
