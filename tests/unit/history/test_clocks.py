"""Which boot this is: passed by the unit, whose sandbox hides the kernel's own file, or read there."""

import time
from pathlib import Path

import pytest

from smart_meter.history.clocks import BOOT_VARIABLE, Clocks, boot_id

KERNELS = "0f8fad5b-d9cb-469f-a165-70867728950e"
SYSTEMDS = "0f8fad5bd9cb469fa16570867728950e"
OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """The kernel's file of another boot, so that it shows which of the two was taken."""
    file = tmp_path / "boot_id"
    file.write_text(f"{OTHER}\n")
    return file


@pytest.mark.parametrize("passed", [SYSTEMDS, KERNELS, SYSTEMDS.upper(), f" {SYSTEMDS}\n"])
def test_what_the_unit_passes_is_taken_and_written_as_the_kernel_does(passed: str, kernel: Path) -> None:
    assert boot_id({BOOT_VARIABLE: passed}, kernel) == KERNELS


@pytest.mark.parametrize("passed", ["", "%b", SYSTEMDS[:-1], SYSTEMDS + "0", "g" * 32])
def test_what_is_not_an_identifier_is_not_taken(passed: str, kernel: Path) -> None:
    assert boot_id({BOOT_VARIABLE: passed}, kernel) == OTHER


def test_without_the_variable_the_kernel_is_asked(kernel: Path) -> None:
    assert boot_id({}, kernel) == OTHER


def test_the_same_boot_is_the_same_whoever_names_it(tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text(f"{KERNELS}\n")
    assert boot_id({BOOT_VARIABLE: SYSTEMDS}, tmp_path / "boot_id") == boot_id({}, tmp_path / "boot_id")


def test_where_neither_is_there_it_is_not_known(tmp_path: Path) -> None:
    assert boot_id({}, tmp_path / "missing") is None
    (tmp_path / "empty").write_text("")
    assert boot_id({}, tmp_path / "empty") is None


def test_the_machines_clocks_are_of_the_boot_that_the_unit_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BOOT_VARIABLE, SYSTEMDS)
    clocks = Clocks.system()
    assert clocks.boot == KERNELS
    assert clocks.monotonic() <= time.monotonic()
