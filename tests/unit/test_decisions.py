"""Each decision has a number, a date and a status, and the decisions that it names exist."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs/decisions"
DECISIONS = sorted(FOLDER.iterdir())


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_has_its_number_a_date_and_a_status(path: Path) -> None:
    title, blank, date, *rest = path.read_text(encoding="utf-8").splitlines()

    assert title.startswith(f"# {int(path.name[:4])}. ")
    assert blank == ""
    assert f"- Date: {datetime.date.fromisoformat(date.removeprefix('- Date: '))}" == date
    assert re.match(r"- Status: (accepted|superseded by \[\d+\]\(\d{4}-[a-z-]+\.md\))(;|$)", rest[0])


def test_the_numbers_have_no_gap() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
