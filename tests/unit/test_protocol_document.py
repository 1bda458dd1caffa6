"""docs/protocol.md agrees with the code."""

import re
from pathlib import Path

import pytest

from smart_meter.concentrator.probe import ANNOUNCEMENT
from smart_meter.config import Config
from smart_meter.meters.meter import Meter
from smart_meter.modbus.adu import MAX_LENGTH, MIN_LENGTH
from smart_meter.modbus.functions import (
    FUNCTIONS,
    MAX_READ_REGISTERS,
    MAX_READ_WRITE_REGISTERS,
    MAX_WRITE_REGISTERS,
)
from smart_meter.modbus.identification import ReadDeviceId
from smart_meter.net.connection import SEGMENT

MIN_ADU = 6 + MIN_LENGTH
TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def rows(heading: str) -> dict[int, list[str]]:
    """The cells after the first one of each row of a chapter's table, by the number in the first."""
    chapter = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line.strip("| ").split(" | ") for line in chapter.splitlines() if re.match(r"\| \d", line)]
    return {int(first, 16 if first.startswith("0x") else 10): cells for first, *cells in table}


def test_exactly_our_function_codes_are_documented_with_their_right() -> None:
    documented = {code: cells[2] == "yes" for code, cells in rows("Function codes").items()}
    assert documented == {int(code): function.writes is not None for code, function in FUNCTIONS.items()}


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        (3, f"1 to {MAX_READ_REGISTERS} registers"),
        (16, f"1 to {MAX_WRITE_REGISTERS} registers"),
        (23, f"reads 1 to {MAX_READ_REGISTERS}, writes 1 to {MAX_READ_WRITE_REGISTERS}"),
    ],
)
def test_the_documented_limits_are_current(code: int, limits: str) -> None:
    assert rows("Function codes")[code][1].startswith(limits)


def test_every_identification_object_is_documented_with_its_value() -> None:
    documented = rows("Identification")
    identification = Meter(Config().meters[0], "RPI#1").identification
    stream = identification.stream(ReadDeviceId.EXTENDED, 0)
    assert stream[5] == len(documented)
    for number, (_, value) in documented.items():
        object_ = identification.one(number)
        assert object_ is not None
        if value.startswith("`") and value.endswith("`"):
            assert object_[8:].decode() == value.strip("`")


def test_the_documented_connection_limits_are_current() -> None:
    assert f"\n- At most {SEGMENT} bytes of one client, {SEGMENT // MIN_ADU} requests, are answered" in TEXT
    assert f"a length outside {MIN_LENGTH} to {MAX_LENGTH}," in TEXT


def test_the_documented_announcement_of_a_probe_is_current() -> None:
    assert f"the {len(ANNOUNCEMENT)} bytes `{ANNOUNCEMENT.decode()}` as query data" in TEXT
