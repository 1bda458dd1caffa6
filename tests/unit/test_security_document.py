"""docs/security.md shows each claim by a file and a test that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs/security.md").read_text(encoding="utf-8")
_PATHS = r"`((?:tests|src|roles|templates|playbooks|tools|requirements)/[^`:* ]+)(?:::(\w+))?`"


def rows(title: str) -> list[list[str]]:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, title
    lines = [line for line in found[1].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("path", sorted({found[0] for found in re.findall(_PATHS, TEXT)}))
def test_a_file_that_the_page_names_exists(path: str) -> None:
    assert (REPOSITORY / path).exists()


@pytest.mark.parametrize(("path", "test"), sorted({found for found in re.findall(_PATHS, TEXT) if found[1]}))
def test_a_test_that_the_page_names_exists(path: str, test: str) -> None:
    assert re.search(
        rf"^(async )?def {test}\(", (REPOSITORY / path).read_text(encoding="utf-8"), re.MULTILINE
    )


def test_each_hardening_has_a_file_and_a_test_or_the_reason_why_not() -> None:
    for what, file, shown in rows("Hardening")[2:]:
        assert re.fullmatch(_PATHS, file), what
        assert re.search(_PATHS, shown) or shown.startswith("no test"), what


def test_each_requirement_has_a_level_a_state_and_a_reason() -> None:
    for requirement, level, state, reason in rows("IEC 62443-4-2")[2:]:
        assert re.match(r"(CR|EDR) [1-7]\.\d+", requirement), requirement
        assert level in {"1", "2", "1, 2"}, requirement
        assert state in {"met", "partly", "not met", "not applicable"}, requirement
        assert reason, requirement
