"""The amd64 image boots without a hand, and serves (make test-image)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.flash import IMAGE, flash
from tests.image.machine import Machine, booted

# Of the package ovmf.
UEFI = Path("/usr/share/ovmf/OVMF.fd")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "disk.img"
    flash(IMAGE, path)
    return path


@pytest.fixture(scope="module")
def machine(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with booted(disk, tmp_path_factory.mktemp("machine")) as machine:
        yield machine


def test_it_answers_a_read_of_eight_registers(machine: Machine) -> None:
    #                             fc  addr quantity
    reply = machine.request(bytes.fromhex("03 0000 0008"))

    assert reply == bytes.fromhex("03 10") + bytes(16)


def test_the_control_zone_may_not_write(machine: Machine) -> None:
    assert machine.request(bytes.fromhex("06 0000 00fa")) == bytes.fromhex("86 01")


def test_it_shows_a_login_and_no_unit_has_failed(machine: Machine) -> None:
    machine.wait_for_line("smart-meter login:")

    assert [line for line in machine.shown.splitlines() if "FAILED" in line] == []


def test_it_starts_under_uefi_as_well(disk: Path, tmp_path: Path) -> None:
    with booted(disk, tmp_path, UEFI) as machine:
        # The kernel names the firmware that has started it.
        machine.wait_for_line("efi: EFI v2")
        machine.wait_for_line("smart-meter login:")

        assert [line for line in machine.shown.splitlines() if "FAILED" in line] == []
