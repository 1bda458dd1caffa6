"""Levels, and how numbers are formatted for people."""

import pytest

from smart_meter.cli.commands.doctor import table
from smart_meter.doctor.check import Check, Level, bad, ok, size, span, unknown, worst


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (119.9, "119 s"), (120, "2 min"), (7200, "2 h"), (200000, "2 days")]
)
def test_a_time_span_is_formatted_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(4e6, "4 MB"), (1.5e9, "1.5 GB"), (2e12, "2.0 TB")])
def test_a_size_is_formatted_for_people(count: float, text: str) -> None:
    assert size(count) == text


def test_the_worst_level_counts() -> None:
    checks = [ok("a", "", ""), Check("b", "", "", Level.WARNING), unknown("c", "", "")]
    assert worst(checks) is Level.WARNING
    assert worst([]) is Level.OK


def test_the_table_has_the_fix_below_a_bad_check() -> None:
    checks = [ok("clock", "right", "right"), bad("port 502", "closed", "open", "systemctl start x")]
    assert table(checks).splitlines() == [
        "ok    clock     right",
        "BAD   port 502  closed",
        "                expected: open",
        "                fix: systemctl start x",
        "2 checks: 1 bad",
    ]
    assert table(checks[:1]).splitlines()[-1] == "1 check: all good"
