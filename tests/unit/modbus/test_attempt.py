from hypothesis import given
from hypothesis import strategies as st

from smart_meter.modbus.attempt import WRITES, attempt
from tests.unit.wire import adu, read, wire, write


def test_a_request_is_described_by_its_registers_unit_and_function() -> None:
    assert str(attempt(write(1, unit=7))) == "wrote registers 1-8 of unit 7 with function 16"
    assert str(attempt(read(3, 1))) == "read register 3 of unit 1 with function 3"
    assert str(attempt(adu(1, wire("04 0000 001a")))) == "read input registers 0-25 of unit 1 with function 4"
    assert str(attempt(adu(9, wire("08 0000 0001")))) == "addressed unit 9 with function 8"


@given(unit=st.integers(0, 255), function=st.integers(0, 255), rest=st.binary(max_size=20))
def test_any_request_can_be_described(unit: int, function: int, rest: bytes) -> None:
    found = attempt(adu(unit, bytes((function,)) + rest))
    assert (found.unit, found.function, found.writes) == (unit, function, function in WRITES)
    assert f"unit {unit} with function {function}" in str(found)
    assert f"unit {unit}" in found.span
