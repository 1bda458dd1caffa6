"""docs/architecture.md names every folder and nothing else; `make generate` writes its other tables."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def test_every_folder_with_code_has_its_row_and_every_row_its_folder() -> None:
    tracked = {path.name for path in REPOSITORY.iterdir() if path.is_dir() and not path.name.startswith(".")}
    generated = {"build", "dist"}

    rows = re.findall(r"^\| `([a-z_]+)/` \|", section("The other folders"), re.MULTILINE)

    assert sorted(rows) == sorted(tracked - generated)


def test_a_folder_named_within_a_folders_row_exists() -> None:
    for folder, rest in re.findall(r"^\| `([a-z_]+)/` \| (.*)$", section("The other folders"), re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)/`", rest):
            inside = REPOSITORY / folder / name
            assert inside.is_dir() or (REPOSITORY / name).is_dir(), f"{folder}/ names {name}/"


def test_there_are_at_most_sixteen_entries_in_the_program() -> None:
    entries = {path.name for path in (REPOSITORY / "src/smart_meter").iterdir()} - {"__pycache__"}

    assert len(entries) <= 16, sorted(entries)


def test_every_link_leads_to_a_page() -> None:
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.relative_to(REPOSITORY)} links to {link}"
