"""What is made from the code is current, and what cannot be made is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.generate import REPOSITORY, products, replace
from tools.generate.templates import GOLDEN

PRODUCTS = dict(products())


@pytest.mark.parametrize("path", PRODUCTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_generated_file_is_current(path: Path) -> None:
    assert path.exists(), "run make generate"
    assert path.read_text(encoding="utf-8") == PRODUCTS[path](), "run make generate"


def test_every_golden_file_belongs_to_a_template() -> None:
    assert {path for path in GOLDEN.rglob("*") if path.is_file()} == {
        p for p in PRODUCTS if GOLDEN in p.parents
    }


def test_only_the_part_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: x -->\nold\n<!-- end: x -->\nafter\n", encoding="utf-8")

    assert replace(page, "x", "new\n") == "before\n<!-- begin: x -->\nnew\n<!-- end: x -->\nafter\n"


@pytest.mark.parametrize("text", ["", "begin: x\n", "end: x\nbegin: x\n", "begin: x\nbegin: x\nend: x\n"])
def test_a_file_without_its_marks_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=r'page\.md: needs one line with "begin: x"'):
        replace(page, "x", "")
