"""What an image does with its card: the first boot, a restart, a power cut, a state that is broken.

SSH's key and the right to become root are put on the state partition beforehand, as a site card does it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.image import disk as layout

from tests.image import state
from tests.image.flash import CARD
from tests.image.machine import BOOT_SECONDS, Machine, booted

FC03 = bytes.fromhex("03 0000 0008")


@pytest.fixture(scope="module")
def machine(card: Path, key: Path, folder: Path) -> Iterator[Machine]:
    with booted(card, folder, keep=True, key=key) as machine:
        assert machine.request(FC03) == bytes.fromhex("03 10") + bytes(16)
        yield machine


def test_the_first_boot_makes_the_state_as_large_as_the_card(machine: Machine) -> None:
    [size] = machine.run("findmnt --noheadings --bytes --output SIZE /state").split()
    report = json.loads(machine.run("cat /run/smart-meter-image/state.json"))

    assert report == {**report, "kind": "state", "device": "vda8", "problems": [], "repaired": False}
    used = layout.MIB * 1024 * 2.5
    assert int(size) > (CARD - used) * 0.8


def test_the_root_is_read_only_and_there_is_no_swap(machine: Machine) -> None:
    assert machine.run("findmnt --noheadings --output OPTIONS /").split(",")[0] == "ro"
    assert machine.run("cat /proc/swaps").count("\n") == 1
    assert "noatime" in machine.run("findmnt --noheadings --output OPTIONS /state")
    assert machine.run("sudo touch /usr/x 2>/dev/null || echo refused") == "refused\n"


def test_no_unit_has_failed_and_the_journal_is_on_the_card(machine: Machine) -> None:
    assert machine.run("systemctl list-units --failed --plain --no-legend") == ""
    assert "/var/log/journal/" in machine.run("journalctl --header | grep 'File path'")


@pytest.fixture(scope="module")
def before(machine: Machine) -> list[str]:
    """What must be the same after a restart."""
    return identity(machine)


def identity(machine: Machine) -> list[str]:
    return machine.run("cat /etc/machine-id /etc/ssh/*.pub; cat /etc/hostname").splitlines()


def test_what_was_changed_is_there_after_a_restart(machine: Machine, before: list[str]) -> None:
    assert len(before[0]) == 32
    boot = machine.run("cat /proc/sys/kernel/random/boot_id")
    machine.run("sudo sh -c 'hostnamectl hostname pi-north && echo kept > /etc/kept && sync'")
    machine.run("sudo systemctl --no-block reboot")
    deadline = time.monotonic() + BOOT_SECONDS
    while machine.run("cat /proc/sys/kernel/random/boot_id") == boot:
        assert time.monotonic() < deadline, "it does not restart"

    assert identity(machine)[:-1] == before[:-1]
    assert machine.run("cat /etc/hostname /etc/kept; hostname").split() == ["pi-north", "kept", "pi-north"]
    assert machine.run("sudo journalctl --quiet --list-boots | wc -l") == "2\n"
    assert machine.request(FC03)[:2] == bytes.fromhex("03 10")


def test_doctor_shows_the_state(machine: Machine) -> None:
    text = machine.run("sudo /opt/smart-meter/current/bin/smart-meter doctor || true")

    assert "state partition" in text
    assert "vda8" in text


def test_a_state_that_cannot_be_repaired_is_replaced_and_left_as_it_is(
    card: Path, key: Path, folder: Path, machine: Machine
) -> None:
    machine.run("sudo systemctl --no-block poweroff")
    machine.process.wait(600)
    entry = state.entry(card)
    assert entry.end > CARD - 8 * layout.MIB
    with card.open("r+b") as file:
        file.seek(entry.offset)
        for _ in range(0, entry.size, layout.MIB):
            file.write(b"\xa5" * layout.MIB)
    other = folder / "other"
    other.mkdir()
    shutil.copy(card, other / "card.img")

    with booted(other / "card.img", other, keep=True) as broken:
        assert broken.request(FC03) == bytes.fromhex("03 10") + bytes(16)
        broken.wait_for_line("login:")

    with (other / "card.img").open("rb") as file:
        file.seek(entry.offset)
        assert file.read(layout.MIB) == b"\xa5" * layout.MIB
    with state.partition(other / "card.img", layout.SPARE.number) as spare:
        done = subprocess.run(
            ["/usr/sbin/debugfs", "-R", "cat set-aside.json", spare],
            capture_output=True,
            text=True,
            check=True,
        )
    assert "can't be repaired" in json.loads(done.stdout)["why"]
