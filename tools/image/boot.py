"""The files of the FAT partitions: what a Pi's ROM, its boot firmware and GRUB read, and the kernels."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tools.image import models, within
from tools.image.disk import BOOT_A, ROOT_A, SITE, Identity

_FIRMWARE = "usr/lib/raspi-firmware"
# The smallest firmware of each generation, without camera and debugging. The Pi 5 has its own in its EEPROM.
_PI_FIRMWARE = ("bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat")

# From 7.x on, /boot/vmlinuz-VERSION is a second name of a file in the folder of the modules.
_ON_BOOT = (
    *("vmlinuz*", "initrd.img*", "boot/vmlinuz-*", "boot/initrd.img-*", "boot/firmware/*"),
    "usr/lib/modules/*/vmlinuz",
)
_KERNEL_ARGUMENTS = "ro rootwait fsck.repair=yes net.ifnames=0 panic=10"

# autoboot.txt is read from the first FAT partition. A Pi 4's and 5's EEPROM, and bootcode.bin, follow it.
AUTOBOOT = f"""\
[all]
boot_partition={BOOT_A.number}
"""

CONFIG = """\
# Read by the boot firmware. Do not edit: an update of the image replaces it.
arm_64bit=1
kernel=vmlinuz
initramfs initrd.img followkernel
enable_uart=1
# The device tree is that of Debian's kernel, without the firmware's overlays.
upstream_kernel=1
disable_splash=1
"""

# With Raspberry Pi's own kernels, the firmware takes the one for the model (kernel8.img, kernel_2712.img).
CONFIG_RASPBERRY_PI = """\
# Read by the boot firmware. Do not edit: an update of the image replaces it.
arm_64bit=1
auto_initramfs=1
enable_uart=1
disable_splash=1
"""
# The names that the firmware looks for, by the flavour of the kernel.
_INITRDS = {"v8": "initramfs8", "2712": "initramfs_2712"}
# Of a downloaded image's boot partition: firmware, kernels and device trees, and nothing that configures it.
_COPIED = (
    *(*_PI_FIRMWARE, "LICENCE.broadcom", "COPYING.linux", "kernel8.img", "kernel_2712.img", "bcm27*.dtb"),
    *("overlays/*.dtbo", "overlays/overlay_map.dtb"),
)

GRUB = """\
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
search --no-floppy --fs-uuid --set=boot {boot}
menuentry "Smart Meter concentrator, system a" {{
    linux ($boot)/vmlinuz {arguments}
    initrd ($boot)/initrd.img
}}
"""


def kernel_arguments(identity: Identity, console: str) -> str:
    """Return the kernel's command line for the first system. console: the serial console."""
    root = f"root=PARTUUID={identity.partuuid(ROOT_A)} rootfstype=ext4"
    return f"{root} {_KERNEL_ARGUMENTS} console=tty0 console={console},115200"


def write_pi(root: Path, identity: Identity, site: Path, boot: Path) -> None:
    """Write the folders of the first and the boot partition for a Raspberry Pi."""
    version = models.kernel_version(root)
    firmware = root / _FIRMWARE
    # A Pi 3's and Zero 2 W's ROM reads bootcode.bin from the first FAT partition only.
    shutil.copyfile(firmware / "bootcode.bin", site / "bootcode.bin")
    (site / "autoboot.txt").write_text(AUTOBOOT)
    for name in _PI_FIRMWARE:
        shutil.copyfile(firmware / name, boot / name)
    for tree in device_trees(root, version):
        shutil.copyfile(tree, boot / tree.name)
    (boot / "config.txt").write_text(CONFIG)
    (boot / "cmdline.txt").write_text(kernel_arguments(identity, "ttyS1") + "\n")
    _copy_kernel(root, version, boot)


def write_raspberry_pi(
    root: Path, identity: Identity, site: Path, boot: Path, kernels: Mapping[str, str]
) -> None:
    """Write both folders for a Raspberry Pi with its own firmware and kernels, which are in /boot/firmware.

    kernels: the version of each flavour.
    """
    firmware = root / "boot/firmware"
    shutil.copyfile(firmware / "bootcode.bin", site / "bootcode.bin")
    (site / "autoboot.txt").write_text(AUTOBOOT)
    for path in sorted(path for pattern in _COPIED for path in firmware.glob(pattern)):
        target = boot / path.relative_to(firmware)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    (boot / "config.txt").write_text(CONFIG_RASPBERRY_PI)
    (boot / "cmdline.txt").write_text(kernel_arguments(identity, "serial0") + "\n")
    for flavour, version in kernels.items():
        shutil.copyfile(root / f"boot/initrd.img-{version}", boot / _INITRDS[flavour])


def write_pc(root: Path, identity: Identity, grub: Path, site: Path, boot: Path) -> None:
    """Write the folders of the first and the boot partition for a PC. grub: what customize.sh has made."""
    version = models.kernel_version(root)
    (site / "EFI/BOOT").mkdir(parents=True)
    (site / "grub").mkdir()
    shutil.copyfile(grub / "bootx64.efi", site / "EFI/BOOT/BOOTX64.EFI")
    text = GRUB.format(boot=identity.volume_id(BOOT_A), arguments=kernel_arguments(identity, "ttyS0"))
    (site / "grub/grub.cfg").write_text(text)
    _copy_kernel(root, version, boot)


def device_trees(root: Path, version: str) -> list[Path]:
    """Return the kernel's device trees of all Raspberry Pi models."""
    found = [
        path
        for pattern in models.DEVICE_TREE_FOLDERS
        for path in sorted((root / pattern.format(version=version)).glob("*-rpi-*.dtb"))
    ]
    if not found:
        raise ValueError(f"the kernel {version} has no device trees of the Raspberry Pi")
    return found


def _copy_kernel(root: Path, version: str, boot: Path) -> None:
    shutil.copyfile(root / f"boot/vmlinuz-{version}", boot / "vmlinuz")
    shutil.copyfile(root / f"boot/initrd.img-{version}", boot / "initrd.img")


def write_fstab(root: Path, identity: Identity) -> None:
    """Write /etc/fstab of the first system. The initrd mounts everything else (places.txt)."""
    # It is on the disk of the root file system, so it always comes. On a busy virtual machine, udev needs
    # more than systemd's 90 s for it, and the site card would not be applied.
    # It is not checked: on a full one with a lost cluster, as an interrupted copy leaves, fsck.fat 4.2 never
    # ends, systemd-fsck has no time limit, and the network would wait for it.
    site = "ro,noatime,nofail,x-systemd.device-timeout=5min,umask=0077"
    within.content(root, root / "boot/firmware").mkdir(parents=True, exist_ok=True)
    within.content(root, root / "etc/fstab").write_text(
        f"PARTUUID={identity.partuuid(ROOT_A)}\t/\text4\tro,noatime\t0\t0\n"
        f"PARTUUID={identity.partuuid(SITE)}\t/boot/firmware\tvfat\t{site}\t0\t0\n"
    )


def remove_from_root(root: Path) -> None:
    """Remove what the boot partition has from the root file system."""
    for pattern in _ON_BOOT:
        for path in root.glob(pattern):
            within.entry(root, path)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
