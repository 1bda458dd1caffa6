"""QEMU boards for the arm64 image: QEMU loads the kernel, as the boot firmware of a Pi does not run there."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.image.disk import BOOT_A

from tests.image import state
from tests.image.machine import Board

# On a busy machine, udev takes longer than the 90 s for which systemd waits for a device.
_PATIENCE = "systemd.default_device_timeout_sec=900"


@dataclass(frozen=True)
class Boot:
    """What is on an image's boot partition: a folder with its files, and the kernel's arguments."""

    folder: Path
    arguments: str

    def words(self, console: str, *arguments: str) -> tuple[str, ...]:
        """Return QEMU's words for the kernel. console: the serial port in place of a Pi's ttyS1."""
        own = self.arguments.replace("ttyS1", console)
        return (
            *("-kernel", str(self.folder / "vmlinuz"), "-initrd", str(self.folder / "initrd.img")),
            *("-append", " ".join([own, _PATIENCE, *arguments])),
        )


def read_boot(disk: Path, folder: Path) -> Boot:
    """Copy the files of an image's boot partition into a folder."""
    offset = state.entry(disk, BOOT_A.number).offset
    subprocess.run(["mcopy", "-n", "-i", f"{disk}@@{offset}", "::*", folder], check=True)
    return Boot(folder, (folder / "cmdline.txt").read_text().strip())


def virt(boot: Boot) -> Board:
    """Return QEMU's own machine with a Pi 4's processor."""
    machine = ("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "1", "-m", "1G")
    return Board((*machine, *boot.words("ttyAMA0")))


def pi_3(boot: Boot) -> Board:
    """Return a Raspberry Pi 3 B, with a USB adapter as its Ethernet: QEMU does not have a Pi's own.

    Its disk is a card, whose size must be a power of two. QEMU resets the board as soon as the watchdog is
    armed, so its driver stays out. The kernel names an adapter usb0, not eth0, if its address is local, which
    the driver cdc_subset makes it.
    """
    tree = boot.folder / "bcm2837-rpi-3-b.dtb"
    return Board(
        (
            *("qemu-system-aarch64", "-M", "raspi3b", "-dtb", str(tree)),
            *boot.words("ttyS1", "modprobe.blacklist=bcm2835_wdt,cdc_subset"),
        ),
        drive="sd",
        network="usb-net,mac=b8:27:eb:00:00:01",
        serial=1,
    )
