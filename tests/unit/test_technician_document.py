"""docs/technician.md: its pictures have texts, and show the patterns that the LED's program sets."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from smart_meter.site_card.boot_partition import ANSWER
from smart_meter.site_card.card import NAME
from tests.unit.roles.test_led import BLINKS

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "technician.md").read_text(encoding="utf-8")
PICTURES = sorted((DOCS / "pictures").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def test_it_names_the_files_of_the_card() -> None:
    assert f"`{NAME}`" in TEXT
    assert f"`{ANSWER}`" in TEXT


def test_each_picture_is_on_the_page_and_described_in_words() -> None:
    shown = dict(re.findall(r"!\[([^]]+)\]\(([^)]+)\)", TEXT))
    assert {DOCS / path for path in shown.values()} == set(PICTURES)
    assert all(len(words.split()) > 10 for words in shown)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_has_a_title_a_ground_of_its_own_and_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    picture = ElementTree.fromstring(text)  # noqa: S314 - it is this repository's own

    title = picture.find(f"{SVG}title")
    assert title is not None
    assert picture.get("aria-labelledby") == title.get("id")
    # Legible on a dark page, too.
    ground = picture.find(f"{SVG}rect")
    assert ground is not None
    assert (ground.get("width"), ground.get("fill")) == (picture.get("width"), "#fff")
    assert text.count("http") == 1, "only the name space"
    assert len(text) < 10_000


def test_the_time_axis_has_the_patterns_of_the_script() -> None:
    picture = ElementTree.parse(DOCS / "pictures/led.svg")  # noqa: S314 - it is this repository's own
    marks = {mark.text: float(mark.get("x", 0)) for mark in picture.iter(f"{SVG}text")}
    start, second = marks["0 s"], marks["1 s"] - marks["0 s"]
    groups = {group.get("id"): group for group in picture.iter(f"{SVG}g") if group.get("id")}
    assert set(groups) == {*BLINKS, "good", "unknown"}

    for state, pattern in BLINKS.items():
        lit = [
            (
                round((float(bar.get("x", 0)) - start) / second * 1000),
                round(float(bar.get("width", 0)) / second * 1000),
            )
            for bar in groups[state].iter(f"{SVG}rect")
        ]
        expected, at = [], 0
        while at < 6000:
            for on, off in zip(pattern[::2], pattern[1::2], strict=True):
                if at < 6000:
                    expected.append((at, min(on, 6000 - at)))
                at += on + off
        assert lit == expected, state
    [steady] = groups["good"].iter(f"{SVG}rect")
    assert float(steady.get("width", 0)) == 6 * second
