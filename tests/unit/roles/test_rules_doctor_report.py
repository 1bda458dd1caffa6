"""The answer of a Pi's doctor: what a Pi that was taken over may send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbooks.filter_plugins.doctor import result
from roles.preflight.rules.doctor_report import AnswerError, check_report, read_answer

CHECK = {
    "name": "port 502",
    "found": "closed",
    "expected": "open",
    "level": "ok",
    "fix": "make provision LIMIT=NAME-OF-THIS-PI",
}
EVENT = {
    "id": 7,
    "first": "2026-11-24T08:00:00.000+00:00",
    "last": "2026-11-24T19:59:58.123+00:00",
    "count": 12,
    "kind": "refused",
    "client": "192.168.1.51",
    "meter": "pv",
    "text": "wrote register 9",
    "detail": "exception 02",
}
LOGIN = "pi@192.168.2.100"
PROGRAM = "/opt/smart-meter/current/bin/smart-meter"


def report(*checks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    head = {"layout": 2, "host": "pi", "name": None, "release": "1.0", "at": "2026-11-26T19:00:00Z"}
    return {**head, "level": "ok", "checks": list(checks or (CHECK,)), "events": [EVENT], **changes}


def test_a_report_of_this_release_is_returned_with_the_pis_name_in_its_fixes() -> None:
    read = read_answer(json.dumps(report()), "pi-north")
    assert read["checks"] == [{**CHECK, "fix": "make provision LIMIT=pi-north"}]
    assert read["events"] == [{key: EVENT[key] for key in EVENT if key not in {"id", "first"}}]
    assert (read["level"], read["host"], read["name"]) == ("ok", "pi", "")
    # What was read once, such as from the file of the results, can be read again.
    assert check_report(read, "pi-north") == read


def test_an_older_report_has_another_key_and_no_events() -> None:
    older = {"layout": 1, "checks": [{**{k: v for k, v in CHECK.items() if k != "fix"}, "mend": "fix it"}]}
    read = read_answer(json.dumps(older), "pi-north")
    assert (read["layout"], read["checks"][0]["fix"], read["events"]) == (2, "fix it", [])


@pytest.mark.parametrize(
    ("levels", "worst"),
    [(["ok"], "ok"), (["ok", "warning", "unknown"], "warning"), (["warning", "terrible", "ok"], "bad")],
)
def test_the_worst_level_is_computed_here(levels: list[str], worst: str) -> None:
    forged = report(*({**CHECK, "level": level} for level in levels), level="ok")
    assert check_report(forged, "pi")["level"] == worst


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "it is not JSON"),
        ("{garbage", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it is not an object"),
        ("{}", "its layout is unknown; update this controller, or provision the Pi"),
        (
            json.dumps(report(layout=True)),
            "its layout is unknown; update this controller, or provision the Pi",
        ),
        (
            json.dumps(report(layout=[2])),
            "its layout is unknown; update this controller, or provision the Pi",
        ),
        (json.dumps(report(checks=[])), "it has no checks"),
        (json.dumps(report(checks={})), "its checks are not a list"),
        (json.dumps(report(checks=[CHECK] * 201)), "it has 201 checks, and a report has 200 at most"),
        (json.dumps(report(checks=[1])), "a check of it is malformed"),
        (json.dumps(report({**CHECK, "level": ["bad"]})), "a check of it is malformed"),
        (json.dumps(report({**CHECK, "found": None})), "a check of it is malformed"),
        (json.dumps(report(events=[1])), "an event of it is malformed"),
        (json.dumps(report(events=[{**EVENT, "count": "12"}])), "an event of it is malformed"),
        (json.dumps(report(events=[{**EVENT, "last": {}}])), "its last is not text"),
        (json.dumps(report(host=7)), "its host is not text"),
        ("x" * 300_000, "it has 300000 characters, and a report has 262144 at most"),
    ],
)
def test_what_is_not_a_report_is_refused_with_a_reason(output: str, reason: str) -> None:
    with pytest.raises(AnswerError, match="^" + reason.replace(".", r"\.") + "$"):
        read_answer(output, "pi-north")


def test_texts_are_printable_short_and_on_one_line() -> None:
    evil = "a\nBAD pi-south: gone\x1b[2J\u202e"
    made = check_report(report({**CHECK, "found": evil, "expected": "e" * 10_000}, host=evil), "pi")
    assert made["host"] == made["checks"][0]["found"] == r"a\nBAD pi-south: gone\x1b[2J\u202e"
    assert len(made["checks"][0]["expected"]) == 500


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["layout", "checks", "events", "host", "level"])


@given(st.dictionaries(keys, values) | values, values)
def test_no_answer_ends_the_run(data: object, other: object) -> None:
    for forged in (data, {**report(), **data} if isinstance(data, dict) else other):
        found = result({"stdout": json.dumps(forged, default=str)}, "pi-north", LOGIN, PROGRAM)
        assert found["state"] in {"asked", "failed"}
        assert (found["report"] is None) == (found["state"] == "failed")
        assert found["reason"].isprintable()
    run = {"stdout": data, "stderr": other, "msg": data, "unreachable": other}
    assert result(run, "pi-north", LOGIN, PROGRAM)["reason"].isprintable()
    assert result(data, "pi-north", LOGIN, PROGRAM)["state"] in {"asked", "failed", "off"}


@pytest.mark.parametrize(
    ("run", "state", "reason"),
    [
        ({"stdout": "{garbage"}, "failed", "answers with something that is not a report: it is not JSON"),
        ({"stdout": "", "stderr": "a\nno such file\n"}, "failed", "no such file"),
        (
            {"stdout": "", "msg": "Error executing command."},
            "failed",
            f"{PROGRAM} does not run there; make provision",
        ),
        ({"stdout": "hello\x1b[2J"}, "failed", r"hello\x1b[2J"),
        ({}, "failed", "nothing came back"),
        (
            {"unreachable": True, "msg": "ssh: connect to host 192.168.2.100 port 22: Connection timed out"},
            "off",
            None,
        ),
    ],
)
def test_a_pi_without_a_report_has_a_reason(run: dict[str, Any], state: str, reason: str | None) -> None:
    found = result(run, "pi-north", LOGIN, PROGRAM)
    assert (found["state"], found["report"]) == (state, None)
    assert reason in {None, found["reason"]}
    assert found["reason"]
