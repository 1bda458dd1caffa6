"""The arm64 image boots without a hand, and serves: on QEMU's own machine, and on a Raspberry Pi 3."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image import arm64
from tests.image.conftest import CARD
from tests.image.machine import Machine, booted

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = Path(os.environ.get("IMAGE_ARM64", REPOSITORY / "dist/smart-meter-arm64.img.xz"))
# Half of it is the kernel's, which runs the Pi's four processors on one or two of this machine.
SECONDS = 1800

pytestmark = pytest.mark.skipif(not IMAGE.exists(), reason=f"{IMAGE} was not built (make image)")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "card.img"
    with path.open("wb") as file:
        subprocess.run(["xz", "--decompress", "--stdout", IMAGE], check=True, stdout=file)
    os.truncate(path, CARD)
    return path


@pytest.fixture(scope="module")
def boot(card: Path, tmp_path_factory: pytest.TempPathFactory) -> arm64.Boot:
    return arm64.read_boot(card, tmp_path_factory.mktemp("boot"))


@pytest.fixture(scope="module", params=["virt", "pi_3"])
def machine(
    request: pytest.FixtureRequest, card: Path, boot: arm64.Boot, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    board = {"virt": arm64.virt, "pi_3": arm64.pi_3}[request.param](boot)
    with booted(card, tmp_path_factory.mktemp("machine"), board=board) as machine:
        yield machine


def test_it_answers_a_read_of_eight_registers(machine: Machine) -> None:
    #                             fc  addr quantity
    reply = machine.request(bytes.fromhex("03 0000 0008"), SECONDS)

    assert reply == bytes.fromhex("03 10") + bytes(16)


def test_the_control_zone_may_not_write(machine: Machine) -> None:
    assert machine.request(bytes.fromhex("06 0000 00fa")) == bytes.fromhex("86 01")


def test_it_shows_a_login_and_no_unit_has_failed(machine: Machine) -> None:
    machine.wait_for_line("smart-meter login:", SECONDS)

    assert [line for line in machine.shown.splitlines() if "FAILED" in line] == []
