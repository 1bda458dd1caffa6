"""The report of a Pi's doctor: what is refused, what is escaped, and what the controller calculates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playbooks.filter_plugins.doctor import FilterModule, report
from roles.preflight.rules.report import LEVELS, MAX_ANSWER, MAX_CHECKS, MAX_TEXT, ReportError, read_report

from smart_meter.cli.commands.doctor import LAYOUT, record
from smart_meter.doctor.check import Check, Level
from smart_meter.doctor.examine import Examined

NAME = "pi-north"
CHECK = {"name": "clock", "found": "right", "expected": "right", "level": "ok", "fix": ""}


def answer(*checks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"layout": 2, "level": "ok", "checks": list(checks or [CHECK]), **changes}


def read(value: object) -> dict[str, Any]:
    return read_report(json.dumps(value), NAME)


def test_this_releases_own_report_is_read_whole() -> None:
    checks = [
        Check("clock", "right", "right", Level.OK),
        Check("port 502", "closed", "open", Level.BAD, "make provision LIMIT=NAME-OF-THIS-PI"),
    ]
    made = record(Examined(None, None, checks, []), NAME, 0.0)

    found = read(made)

    assert found["layout"] == LAYOUT
    assert found["checks"] == [
        *made["checks"][:1],
        {**made["checks"][1], "fix": "make provision LIMIT=pi-north"},
    ]
    assert {key: found[key] for key in ("host", "release", "at")} == {
        key: made[key] for key in ("host", "release", "at")
    }
    assert {level.value for level in Level} == set(LEVELS)


@pytest.mark.parametrize("claimed", ["ok", "bad", None, 7, ["x"]])
@pytest.mark.parametrize(
    ("levels", "expected"),
    [(("ok", "bad", "warning"), "bad"), (("ok", "warning"), "warning"), (("ok",), "ok")],
)
def test_the_sum_is_calculated_from_the_checks(
    claimed: object, levels: tuple[str, ...], expected: str
) -> None:
    checks = [{**CHECK, "name": level, "level": level} for level in levels]

    assert read(answer(*checks, level=claimed))["level"] == expected


@pytest.mark.parametrize("key", ["name", "found", "expected", "fix"])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("one\ntwo\rthree", "one\\ntwo\\rthree"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("\x9b31m", "\\x9b31m"),
        ("Büro 23 °C", "Büro 23 °C"),
        ("x" * 10_000, "x" * MAX_TEXT),
    ],
)
def test_a_text_is_made_printable_and_short(key: str, text: str, shown: str) -> None:
    assert read(answer({**CHECK, key: text}))["checks"][0][key] == shown


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        None,
        "good",
        7,
        {},
        answer(layout="2"),
        answer(layout=True),
        answer(layout=0),
        answer(checks=None),
        answer(checks={"a": 1}),
        answer(checks=[]),
        answer(checks=[1]),
        answer(CHECK, CHECK),
        answer(*[{**CHECK, "name": str(number)} for number in range(MAX_CHECKS + 1)]),
        answer({**CHECK, "name": " "}),
        answer({**CHECK, "name": 7}),
        answer({**CHECK, "level": None}),
        answer({**CHECK, "level": ["ok"]}),
        answer({**CHECK, "found": None}),
        answer({**CHECK, "fix": {"a": 1}}),
        answer(host=["x"]),
        answer(events=7),
        answer(events=[[]]),
        answer(events=[{"count": "many"}]),
        answer(events=[{"count": 2**63}]),
        answer(events=[{"text": 7}]),
        answer(events=[{}] * 1000),
    ],
)
def test_what_is_not_a_report_is_refused(wrong: object) -> None:
    with pytest.raises(ReportError, match="answers with something that is not a report: ") as caught:
        read(wrong)
    assert not caught.value.newer
    assert str(caught.value).isprintable()


def test_a_level_that_is_not_known_is_not_good() -> None:
    found = read(answer({**CHECK, "level": "terrible"}))
    assert (found["level"], found["checks"][0]["level"]) == ("bad", "bad")


@pytest.mark.parametrize("text", ["", "Traceback", '{"layout": 2', "[" * 100_000, " " * (MAX_ANSWER + 1)])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ReportError):
        read_report(text, NAME)


def test_a_newer_layout_is_not_a_false_answer() -> None:
    with pytest.raises(ReportError, match="update this clone") as caught:
        read(answer(layout=99))
    assert caught.value.newer


def test_fields_that_are_not_known_are_dropped() -> None:
    found = read(answer({**CHECK, "script": "x"}, events=[{"text": "t", "more": 1}], page="<script>"))

    assert "page" not in found
    assert set(found["checks"][0]) == set(CHECK)
    assert found["events"] == [
        {**dict.fromkeys(("first", "last", "kind", "client", "meter", "detail"), ""), "text": "t", "count": 1}
    ]


def test_the_filter_returns_the_report_or_why_there_is_none() -> None:
    filters = FilterModule().filters()
    assert filters["doctor_report"](json.dumps(answer()), NAME)["report"]["level"] == "ok"
    assert report("[]", NAME) == {
        "report": None,
        "reason": "answers with something that is not a report: it is not an object",
    }
    assert filters["printable"]("a\x07") == "a\\x07"
