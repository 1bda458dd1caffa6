"""The word list: what it finds, what it leaves, and that the repository keeps to it."""

from __future__ import annotations

import pytest
from tools.words import check, find, judge


def words(text: str) -> list[str]:
    return [each.word for each in find("x.py", text)]


def test_the_repository_uses_none_of_these_words() -> None:
    assert check() == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("# Tell the client.", "Tell"),
        ("the config says so", "says"),
        ("one line alone", "alone"),
        ("is no string", "is no string"),
        ("made anew", "anew"),
        ("whoever calls", "whoever"),
        ("what mends it", "mends"),
        ("Where there is none, it waits.", "Where there"),
        ("text. Where it fails, it stops", "Where it"),
        ("there is none to be had: it is to be had", "is to be had"),
        ("the oldest gives way", "gives way"),
        ("have the way back", "the way back"),
        ("held each row against it", "held each row against"),
    ],
)
def test_a_word_is_found_with_its_line_and_the_words_to_write(line: str, word: str) -> None:
    found = list(find("a.py", f"\n{line}\n"))

    assert (each := next(each for each in found if each.word == word)).line == 2
    assert str(each).startswith(f'a.py:2: "{word}": write ')


@pytest.mark.parametrize(
    "line",
    [
        "left alone",
        "there is no file",
        "is no longer open",
        "where the file is",
        "retell_it()",
        "Where is it?",
    ],
)
def test_ordinary_english_is_left(line: str) -> None:
    assert words(line) == []


def test_a_listed_file_may_have_them_and_a_listed_file_without_them_is_refused() -> None:
    found = list(find("old/a.py", "anew"))

    assert judge(found, ["old/"], ["old/a.py"]) == []
    assert "is clean; remove the line" in judge([], ["old/"], ["old/a.py"])[0]
    assert "does not exist" in judge(found, ["old/", "gone/"], ["old/a.py"])[0]
    assert judge(found, [], ["old/a.py"]) == ['old/a.py:1: "anew": write again']
