"""Whether a release still is what was installed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from smart_meter.doctor.installed import damage


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return a release of two files with their recorded hashes."""
    (tmp_path / "bin").mkdir()
    lines = ""
    for name in ("./bin/program", "./module.py"):
        (tmp_path / name).write_text(name)
        lines += f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n"
    (tmp_path / ".complete").write_text(lines)
    return tmp_path


def test_a_release_as_it_was_installed_has_no_damage(release: Path) -> None:
    assert damage(release) == ""


def test_files_added_later_are_not_damage(release: Path) -> None:
    (release / "later.pyc").write_text("compiled")

    assert damage(release) == ""


def test_an_empty_file_is_damage(release: Path) -> None:
    (release / "module.py").write_text("")

    assert damage(release) == "module.py changed since the installation"


def test_every_changed_file_counts(release: Path) -> None:
    (release / "module.py").unlink()
    (release / "bin/program").write_text("changed")

    assert damage(release) == "bin/program and 1 more changed since the installation"


def test_a_release_without_its_hashes_was_not_installed_completely(release: Path) -> None:
    (release / ".complete").unlink()

    assert damage(release) == ".complete is missing: the installation did not finish"


@pytest.mark.parametrize("mark", [b"", b"\xff\xfe"], ids=["of an earlier version", "torn"])
def test_without_recorded_hashes_damage_is_not_known(release: Path, mark: bytes) -> None:
    (release / ".complete").write_bytes(mark)

    assert damage(release) is None
