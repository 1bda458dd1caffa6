import random
import re

import pytest

from smart_meter.config import MeterConfig
from smart_meter.map_document.identifiers import (
    Claims,
    IdentifierError,
    measurement_identifiers,
    meter_identifiers,
)
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap


def identifiers(*names: str) -> list[str]:
    register_map = RegisterMap(tuple(Measurement(name, address) for address, name in enumerate(names)))
    return list(measurement_identifiers(register_map).values())


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("P_ac", "P_ac"),
        ("a.b-c", "a_b_c"),
        ("a.-_b", "a_b"),
        ("a_", "a"),
        ("int", "int_"),
        ("class", "class_"),
        ("and", "and_"),
        ("Int", "Int"),
        ("linux", "linux_"),
        ("A0", "A0_"),
        ("B01", "B01_"),
        ("B2", "B2"),
        ("I", "I_"),
        ("HIGH", "HIGH_"),
    ],
)
def test_an_identifier_is_neither_a_keyword_nor_a_boards_macro(name: str, identifier: str) -> None:
    assert identifiers(name) == [identifier]


@pytest.mark.parametrize("names", [("a.b", "a-b"), ("T", "t"), ("int", "INT"), ("x_", "x"), ("a_-b", "a_b")])
def test_names_with_the_same_identifier_get_their_addresses(names: tuple[str, str]) -> None:
    one, other = identifiers(*names)
    assert re.fullmatch(r"[A-Za-z](_?[A-Za-z])*_at_0", one)
    assert re.fullmatch(r"[A-Za-z](_?[A-Za-z])*_at_1", other)


def test_no_identifier_depends_on_the_order_of_the_measurements() -> None:
    measurements = [Measurement(name, at) for at, name in enumerate(["a.b", "a-b", "a_b", "c", "C", "int"])]
    known = measurement_identifiers(RegisterMap(tuple(measurements)))
    for seed in range(20):
        random.Random(seed).shuffle(measurements)  # noqa: S311 - an order, not a secret.
        assert measurement_identifiers(RegisterMap(tuple(measurements))) == known


def test_identifiers_that_stay_equal_are_refused_with_both_names() -> None:
    with pytest.raises(
        IdentifierError, match=r'A_B_AT_0 would stand for .*"a\.b" and for .*"a_b_at_0"; rename'
    ):
        identifiers("a.b", "a-b", "a_b_at_0")


def test_meters_with_the_same_identifier_get_their_unit_identifiers() -> None:
    meters = [
        MeterConfig(name, unit, PV_MAP) for unit, name in [(7, "roof.east"), (9, "roof-east"), (1, "pv")]
    ]
    assert meter_identifiers(meters) == {
        "roof.east": "roof_east_unit_7",
        "roof-east": "roof_east_unit_9",
        "pv": "pv",
    }


def test_an_identifier_has_only_one_owner() -> None:
    claims = Claims()
    assert claims.claim("x", "one") == claims.claim("x", "one") == "x"
    with pytest.raises(IdentifierError, match="x would stand for one and for another"):
        claims.claim("x", "another")
