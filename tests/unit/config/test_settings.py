"""A setting's kind: what it reads, and that the whole model is described by kinds."""

from __future__ import annotations

import enum
from typing import Annotated, Any, NamedTuple

import pytest

from smart_meter.config import (
    AccessRule,
    Config,
    EventsConfig,
    HistoryConfig,
    JournalConfig,
    MeterConfig,
    ServerConfig,
    ZoneConfig,
)
from smart_meter.config.measurements import SETTINGS
from smart_meter.config.settings import (
    CustomSetting,
    Integer,
    Number,
    Seconds,
    Text,
    choices,
    read_record,
    scalar_settings,
    settings_of,
)
from smart_meter.config.toml_table import Problem, Table
from smart_meter.registers.register_map import Measurement


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def _fault(value: str) -> str:
    return "is not polite" if value == "oi" else ""


class Sub(NamedTuple):
    name: Annotated[str, Text("A name.", "a polite word", fault=_fault)] = "hello"
    number: Annotated[int, Integer("A count.", 1, 3)] = 2
    place: Annotated[int | None, Integer("A place.", 0, 3, optional=True)] = None
    share: Annotated[float, Number("A share.", 0, 1, "a number from 0 to 1")] = 0.5
    pause: Annotated[float, Seconds("A pause.", 1, 9, "for none")] = 4
    colour: Annotated[Colour, choices("A colour.", Colour)] = Colour.RED


class Root(NamedTuple):
    title: Annotated[str, Text("A title.", "any text")] = ""
    sub: Sub = Sub()


def read(data: dict[str, object]) -> tuple[Sub | None, list[str]]:
    problems: list[Problem] = []
    return read_record(Table("c.toml", "sub", data, problems), Sub), [str(problem) for problem in problems]


def test_an_empty_table_gives_the_defaults() -> None:
    assert read({}) == (Sub(), [])


def test_every_kind_reads_its_value() -> None:
    data = {"name": "good day", "number": 3, "place": 0, "share": 1, "pause": 0, "colour": "blue"}

    assert read(data) == (Sub("good day", 3, 0, 1, 0, Colour.BLUE), [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "oi"}, 'sub.name: "oi" is not polite; give a polite word'),
        ({"number": 4}, "sub.number: 4 is out of range; give an integer from 1 to 3"),
        ({"share": 2}, "sub.share: 2 is out of range; give a number from 0 to 1"),
        ({"pause": 0.5}, "sub.pause: 0.5 is out of range; give seconds from 1 to 9, or 0 for none"),
        ({"colour": "green"}, 'sub.colour: "green" is unknown; give "red" or "blue"'),
        ({"colours": "red"}, 'sub.colours: is an unknown key; did you mean "colour"?'),
    ],
)
def test_a_wrong_value_is_reported_with_what_is_accepted(data: dict[str, object], message: str) -> None:
    assert read(data)[1] == [f"c.toml: {message}"]


def test_a_key_is_known_by_its_path() -> None:
    assert list(scalar_settings(Root)) == [("title",), *(("sub", name) for name in Sub._fields)]


def test_every_field_of_the_model_has_its_kind_or_is_a_record() -> None:
    tables = {"zones", "meters"}
    keys = {path[0] for path in scalar_settings(Config)}
    assert keys == set(Config._fields) - tables
    assert set(settings_of(ZoneConfig)) == set(ZoneConfig._fields)
    assert set(settings_of(AccessRule)) == set(AccessRule._fields)
    assert set(settings_of(MeterConfig)) == set(MeterConfig._fields) - {"map", "access"}
    assert set(SETTINGS) == set(Measurement._fields)


def test_every_description_is_a_sentence_and_every_default_is_accepted() -> None:
    records: list[Any] = [ServerConfig, JournalConfig, HistoryConfig, EventsConfig, AccessRule, MeterConfig]
    for record in records:
        for name, kind in settings_of(record).items():
            assert kind.description.endswith("."), name
            if name in record._field_defaults and not isinstance(kind, CustomSetting):
                problems: list[Problem] = []
                kind.read(Table("", "", {}, problems), name, record._field_defaults[name])
                assert problems == [], name
