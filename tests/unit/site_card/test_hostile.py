"""No content of a card's file raises anything but CardError."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from smart_meter.site_card.card import CardError, read
from smart_meter.site_card.checks import check
from smart_meter.site_card.firewall import admits, fault
from tests.unit.site_card.sample import card, data, files

LINES = data().decode().splitlines()
VALUES = st.one_of(
    st.sampled_from(
        ['""', "[]", "{}", "1", "-1", "true", "nan", "1979-05-27", "[[1]]", '{a = "b"}', "0x" + "f" * 99]
    ),
    st.text(max_size=30).map(lambda text: f"'{text}'"),
)


def read_and_check(content: bytes) -> None:
    with suppress(CardError):
        check(read(content))


def summed(lines: list[str]) -> bytes:
    body = "".join(f"{line}\n" for line in lines)
    return f"{body}# sha256 {hashlib.sha256(body.encode('utf-8', 'replace')).hexdigest()}\n".encode(
        "utf-8", "replace"
    )


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    read_and_check(content)


@given(st.integers(0, len(LINES) - 2), st.text(max_size=40))
def test_any_line_in_place_of_another(place: int, line: str) -> None:
    read_and_check(summed([*LINES[:place], line, *LINES[place + 1 : -1]]))


@settings(max_examples=300)
@given(st.integers(0, len(LINES) - 2), VALUES)
def test_any_value_in_place_of_another(place: int, value: str) -> None:
    key, equals, _ = LINES[place].partition(" = ")
    read_and_check(summed([*LINES[:place], f"{key}{equals}{value}", *LINES[place + 1 : -1]]))


@settings(max_examples=300)
@given(st.sampled_from(sorted(files())), st.data())
def test_any_value_in_a_text(key: str, drawn: st.DataObject) -> None:
    lines = files()[key].splitlines()
    place = drawn.draw(st.integers(0, len(lines) - 1))
    name, equals, _ = lines[place].partition("=")
    lines[place] = f"{name}{equals}{drawn.draw(st.text(max_size=30))}"
    read_and_check(data(card({key: "\n".join(lines) + "\n"})))


@given(
    st.text(alphabet="0123456789abcdef.:/, any", max_size=60), st.text(alphabet="0123456789:,", max_size=12)
)
def test_any_rule_of_the_firewall(network: str, ports: str) -> None:
    line = f"ufw allow from {network} to any port {ports} proto tcp comment 'x'"
    if not fault(line):
        admits(line, 22)
