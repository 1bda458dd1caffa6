"""A stored map is read back unchanged."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.history.maps import define, parse
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder

numbers = st.floats(allow_nan=False, allow_infinity=False)
measurements = st.builds(
    Measurement,
    st.text("abcXYZ_09", min_size=1),
    st.integers(0, 65534),
    st.sampled_from(DataType),
    st.floats(1e-9, 1e9),
    st.text(max_size=8),
    st.integers(0, 6),
    st.sampled_from(WordOrder),
    numbers,
    st.none() | numbers,
    st.none() | numbers,
    st.none() | numbers,
)


@given(st.lists(measurements, min_size=1).map(lambda parts: RegisterMap(tuple(parts))))
def test_any_map_is_read_back_unchanged(register_map: RegisterMap) -> None:
    assert parse(define(register_map)) == register_map


def test_a_sentinel_that_is_not_a_number_is_stored_as_strict_json() -> None:
    register_map = RegisterMap((Measurement("P", 0, DataType.FLOAT32, sentinel=math.nan),))

    definition = define(register_map)

    json.loads(definition, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    sentinel = parse(definition).measurements[0].sentinel
    assert sentinel is not None
    assert math.isnan(sentinel)


def test_maps_that_differ_only_in_a_limit_differ_as_texts() -> None:
    first = PV_MAP.measurements[0]
    limited = RegisterMap((first._replace(maximum=900.0), *PV_MAP.measurements[1:]))

    assert limited.fingerprint == PV_MAP.fingerprint
    assert define(limited) != define(PV_MAP)


def test_unknown_keys_of_a_measurement_are_ignored() -> None:
    records = json.loads(define(PV_MAP))
    assert parse(json.dumps([{**record, "colour": "blue"} for record in records])) == PV_MAP


@pytest.mark.parametrize("text", ["", "{", "[1]", "[{}]", '{"name": 1}', "null"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error is one
        parse(text)


def test_a_map_with_gaps_is_stored_with_its_measurements_places_in_a_row() -> None:
    register_map = RegisterMap((Measurement("b", 57716, DataType.UINT32), Measurement("a", 40083)))
    records = json.loads(define(register_map))
    assert [(record["address"], record["wire"]) for record in records] == [(1, 57716), (0, 40083)]
    assert [m.address for m in parse(define(register_map), as_stored=True).measurements] == [1, 0]
    assert parse(define(register_map)) == register_map


def test_a_map_without_gaps_is_stored_as_the_first_release_did() -> None:
    assert all("wire" not in record for record in json.loads(define(PV_MAP)))
    assert parse(define(PV_MAP), as_stored=True) == PV_MAP
