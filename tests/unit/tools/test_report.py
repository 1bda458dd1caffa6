"""The page for the customer: one row per Pi, everything escaped, nothing fetched."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "tools" / "report.py"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(name: str, level: str, found: str = "found", fix: str = "") -> dict[str, str]:
    return {"name": name, "found": found, "expected": "expected", "level": level, "fix": fix}


def host(name: str, *checks: dict[str, str]) -> dict[str, Any]:
    head = {"layout": 2, "host": name, "name": "RPI#1", "release": "0.2", "at": "2026-11-24T20:00:00+00:00"}
    return {
        "name": name,
        "site": "north",
        "address": "192.168.2.100",
        "state": "asked",
        "reason": "",
        "report": {**head, "checks": list(checks)},
    }


def unasked(name: str, state: str, reason: str) -> dict[str, Any]:
    return {"name": name, "site": "", "address": "", "state": state, "reason": reason, "report": None}


def results(*hosts: dict[str, Any]) -> dict[str, Any]:
    return {"layout": 1, "at": "2026-11-24T20:22:00Z", "hosts": list(hosts)}


FLEET = results(
    host("pi-a", check("clock", "ok"), check("temperature", "unknown")),
    host("pi-b", check("clock", "ok"), check("port 502", "bad", fix="sudo systemctl start smart-meter")),
    unasked("pi-c", "off", "Connection timed out"),
    unasked("pi-d", "left out", "not asked in this run"),
)


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.split("</style>")[1]).split())


def test_each_pi_has_a_row_with_its_verdict_in_words(report: ModuleType) -> None:
    text = text_of(report.render(FLEET, "A fleet"))
    assert "A fleet As found on 24 November 2026, 20:22 UTC" in text
    assert "✔ good pi-a north 192.168.2.100 all good" in text
    assert "✖ bad pi-b north 192.168.2.100 bad: port 502" in text
    assert "✖ bad pi-c does not answer: Connection timed out" in text
    assert "○ not asked pi-d not asked" in text
    assert "✖ 2 of 4 need work ✔ 1 of 4 good ○ 1 of 4 not asked" in text


WORST_FIRST = "✖ bad port 502 found (expected: expected) → sudo systemctl start smart-meter ✔ good clock"


def test_the_worst_check_comes_first_and_has_its_fix(report: ModuleType) -> None:
    assert WORST_FIRST in text_of(report.render(FLEET, "A fleet"))


def test_the_fix_of_an_older_release_is_shown_too(report: ModuleType) -> None:
    older = json.loads(json.dumps(FLEET).replace('"fix":', '"mend":').replace('"layout": 2', '"layout": 1'))
    assert WORST_FIRST in text_of(report.render(older, "A fleet"))


def test_bad_checks_and_warnings_are_named_in_the_row(report: ModuleType) -> None:
    fleet = results(host("pi-a", check("clock", "warning"), check("port 502", "bad")))
    assert "bad: port 502 | warning: clock" in text_of(report.render(fleet, "A fleet"))


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


def test_the_last_events_of_a_pi_are_below_its_checks(report: ModuleType) -> None:
    pi = host("pi-a", check("clock", "ok"))
    assert "Last events" not in text_of(report.render(results(pi), "A fleet"))
    pi["report"]["events"] = [EVENT]
    text = text_of(report.render(results(pi), "A fleet"))
    assert "2026-11-24 19:59:58 refused 192.168.1.51 pv: wrote register 9 (12 times) exception 02" in text


def test_everything_that_a_pi_reports_is_escaped(report: ModuleType) -> None:
    evil = '<script>alert("x")</script>'
    named = {**host(evil, check(evil, "bad", evil, evil)), "site": evil, "address": evil}
    named["report"]["events"] = [dict.fromkeys(EVENT, evil) | {"count": 2}]
    page = report.render(results(named, unasked(evil, "off", evil)), evil)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10


def test_a_report_that_is_none_is_one_red_row(report: ModuleType) -> None:
    forged = host("pi-b", check("clock", "terrible", "x\u202ey"))
    garbage = {**host("pi-c"), "report": {"layout": 2, "checks": [1]}}
    text = text_of(report.render(results(host("pi-a", check("clock", "ok")), forged, garbage), "A fleet"))
    assert "✔ good pi-a north 192.168.2.100 all good" in text
    assert "✖ bad pi-b north 192.168.2.100 bad: clock" in text
    assert r"x\u202ey" in text
    assert (
        "✖ bad pi-c north 192.168.2.100 could not be asked: "
        "answers with something that is not a report: checks is not a list of objects"
    ) in text


def test_the_page_needs_nothing_from_elsewhere(report: ModuleType) -> None:
    page = report.render(FLEET, "A fleet")
    assert re.findall(r"https?:|url\(|@import|<script|<img|<link", page) == []


def test_the_page_is_written_to_the_given_path(
    report: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "doctor.json").write_text(json.dumps(FLEET))
    out = tmp_path / "for" / "customer.html"
    assert report.main(["--results", str(tmp_path / "doctor.json"), "--out", str(out)]) == 0
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert capsys.readouterr().out == f"report: {out}\n"


@pytest.mark.parametrize("content", ["no JSON", '{"layout": 7}'])
def test_unusable_results_are_reported(
    report: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "doctor.json").write_text(content)
    assert report.main(["--results", str(tmp_path / "doctor.json"), "--out", str(tmp_path / "x")]) == 2
    assert f"report: {tmp_path / 'doctor.json'}: " in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "false",
    [
        {"checks": []},
        {"checks": [{"name": "clock"}]},
        {"layout": 2, "checks": [check("clock", "ok")] * 2},
    ],
)
def test_what_is_not_a_report_is_one_red_row(report: ModuleType, false: dict[str, Any]) -> None:
    pi = {**host("pi-a"), "report": {"layout": 2, **false}}
    text = text_of(report.render(results(pi, host("pi-b", check("clock", "ok"))), "A fleet"))
    assert (
        "✖ bad pi-a north 192.168.2.100 could not be asked: answers with something that is not a report"
        in text
    )
    assert "✔ good pi-b north 192.168.2.100 all good" in text


def test_a_text_can_not_change_the_direction_of_the_page(report: ModuleType) -> None:
    page = report.render(results(host("pi-a", check("clock", "bad", found="\u202edoog"))), "A fleet")
    assert "\u202e" not in page
    assert "\\u202edoog" in page
