"""The boot identifier: passed by the unit, whose sandbox hides the kernel's file, or read from that file."""

import time
from pathlib import Path

import pytest

from smart_meter.history.clocks import BOOT_VARIABLE, Clocks, boot_id

KERNELS = "0f8fad5b-d9cb-469f-a165-70867728950e"
SYSTEMDS = "0f8fad5bd9cb469fa16570867728950e"
OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """The kernel's file with another identifier, which shows which of the two was used."""
    file = tmp_path / "boot_id"
    file.write_text(f"{OTHER}\n")
    return file


@pytest.mark.parametrize("passed", [SYSTEMDS, KERNELS, SYSTEMDS.upper(), f" {SYSTEMDS}\n"])
def test_the_units_identifier_is_used_in_the_kernels_format(passed: str, kernel: Path) -> None:
    assert boot_id({BOOT_VARIABLE: passed}, kernel) == KERNELS


@pytest.mark.parametrize("passed", ["", "%b", SYSTEMDS[:-1], SYSTEMDS + "0", "g" * 32])
def test_anything_but_an_identifier_is_ignored(passed: str, kernel: Path) -> None:
    assert boot_id({BOOT_VARIABLE: passed}, kernel) == OTHER


def test_without_the_variable_the_kernels_file_is_read(kernel: Path) -> None:
    assert boot_id({}, kernel) == OTHER


def test_both_sources_give_the_same_identifier(tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text(f"{KERNELS}\n")
    assert boot_id({BOOT_VARIABLE: SYSTEMDS}, tmp_path / "boot_id") == boot_id({}, tmp_path / "boot_id")


def test_without_either_the_identifier_is_unknown(tmp_path: Path) -> None:
    assert boot_id({}, tmp_path / "missing") is None
    (tmp_path / "empty").write_text("")
    assert boot_id({}, tmp_path / "empty") is None


def test_the_system_clocks_use_the_units_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BOOT_VARIABLE, SYSTEMDS)
    clocks = Clocks.system()
    assert clocks.boot == KERNELS
    assert clocks.monotonic() <= time.monotonic()
