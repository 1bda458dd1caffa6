"""The controller's wheelhouse: what makes a release, and what it refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "tools" / "wheelhouse.py"


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the program as a module, on a small repository of its own."""
    spec = importlib.util.spec_from_file_location("wheelhouse", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "program.py").write_text("1\n")
    (tmp_path / "pyproject.toml").write_text("2\n")
    (tmp_path / "pi.txt").write_text("3\n")
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.setattr(module, "LOCK", tmp_path / "pi.txt")
    return module


def test_the_same_sources_are_the_same_release(wheelhouse: ModuleType) -> None:
    assert wheelhouse.fingerprint("3.13", "aarch64") == wheelhouse.fingerprint("3.13", "aarch64")


@pytest.mark.parametrize("changed", ["src/program.py", "pyproject.toml", "pi.txt"])
def test_a_changed_file_is_another_release(wheelhouse: ModuleType, tmp_path: Path, changed: str) -> None:
    before = wheelhouse.fingerprint("3.13", "aarch64")

    (tmp_path / changed).write_text("changed\n")

    assert wheelhouse.fingerprint("3.13", "aarch64") != before


def test_another_python_or_architecture_is_another_release(wheelhouse: ModuleType) -> None:
    targets = [("3.13", "aarch64"), ("3.11", "aarch64"), ("3.13", "x86_64")]

    assert len({wheelhouse.fingerprint(*target) for target in targets}) == 3


def test_what_python_compiled_is_no_part_of_a_release(wheelhouse: ModuleType, tmp_path: Path) -> None:
    before = wheelhouse.fingerprint("3.13", "aarch64")

    (tmp_path / "src" / "program.pyc").write_bytes(b"4")

    assert wheelhouse.fingerprint("3.13", "aarch64") == before


def test_an_architecture_without_wheels_is_refused_with_the_mend(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(PROGRAM),
        "--python",
        "3.13",
        "--machine",
        "armv7l",
        "--cache",
        str(tmp_path),
    ]

    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode != 0
    assert "no wheels for architecture 'armv7l'; use a 64-bit Raspberry Pi OS" in done.stderr
