"""Makes an image of the shape of a downloaded Raspberry Pi OS Lite, with what it does at its first boot."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from tools.image.disk import MIB
from tools.image.writing import PATH

ENVIRONMENT = {"PATH": PATH}
BOOT_MIB = 64
START = 8 * MIB
CMDLINE = (
    "console=serial0,115200 console=tty1 root=PARTUUID=1d5d2a4e-02 rootfstype=ext4 fsck.repair=yes rootwait"
    " resize init=/usr/lib/raspberrypi-sys-mods/firstboot\n"
)
BOOT = {
    "cmdline.txt": CMDLINE,
    "config.txt": "dtparam=audio=on\nauto_initramfs=1\n",
    "user-data": "#cloud-config\n",
    "network-config": "network:\n  version: 2\n",
    "meta-data": "instance-id: rpios-image\n",
    "issue.txt": "Raspberry Pi reference\n",
    "bootcode.bin": "rom",
    "start.elf": "firmware",
    "start_x.elf": "firmware for cameras",
    "fixup.dat": "x",
    "start4.elf": "firmware",
    "fixup4.dat": "x",
    "kernel8.img": "kernel",
    "kernel_2712.img": "kernel of a Pi 5",
    "initramfs8": "initrd of Raspberry Pi OS",
    "initramfs_2712": "initrd of Raspberry Pi OS",
    "bcm2711-rpi-4-b.dtb": "tree",
    "overlays/vc4-kms-v3d.dtbo": "overlay",
}
# What it has that an appliance must not have: each is looked for in the result.
FIRST_BOOT = {
    "etc/rpi-issue": "Raspberry Pi reference 2025-10-01\n",
    "etc/machine-id": "uninitialized\n",
    "etc/fstab": (
        "proc /proc proc defaults 0 0\nPARTUUID=1d5d2a4e-01 /boot/firmware vfat defaults 0 2\n"
        "PARTUUID=1d5d2a4e-02 / ext4 defaults,noatime,x-systemd.growfs 0 1\n"
    ),
    "etc/sudoers.d/010_pi-nopasswd": "pi ALL=(ALL) NOPASSWD: ALL\n",
    "etc/ssh/sshd_config.d/rename_user.conf": "Banner /usr/share/userconf-pi/sshd_banner\n",
    "etc/systemd/system/getty@tty1.service.d/autologin.conf": "[Service]\nExecStart=\n",
    "etc/init.d/resize2fs_once": "#!/bin/sh\n",
    "etc/rpi/swap.conf": "[Main]\n",
    "etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg": "datasource_list: [NoCloud]\n",
    "etc/netplan/50-cloud-init.yaml": "network:\n  version: 2\n",
    "usr/lib/systemd/system-generators/rpi-swap-generator": "#!/bin/sh\n",
    "usr/lib/raspberrypi-sys-mods/firstboot": "#!/bin/sh\n",
    "usr/share/initramfs-tools/hooks/firstboot": "#!/bin/sh\n",
    "usr/share/initramfs-tools/scripts/local-premount/resize_early": "#!/bin/sh\n",
    "usr/share/initramfs-tools/scripts/local-bottom/set_partuuid": "#!/bin/sh\n",
    "usr/lib/userconf-pi/userconf-service": "#!/bin/sh\n",
    "var/swap": "swap",
    "var/lib/NetworkManager/NetworkManager.state": "[main]\nWirelessEnabled=false\n",
    "var/lib/systemd/rfkill/platform-fe300000.mmcnr:wlan": "1\n",
}
# Units that its first boot enables.
DISABLED = ("getty.target.wants/getty@tty1.service", "multi-user.target.wants/ssh.service", "sshd.service")
UNITS = {
    "multi-user.target.wants": (
        "userconfig.service",
        "sshswitch.service",
        "regenerate_ssh_host_keys.service",
    ),
    "sysinit.target.wants": ("rpi-resize.service",),
    "cloud-init.target.wants": ("cloud-final.service", "cloud-config.service"),
}


def plant(root: Path) -> None:
    """Write what Raspberry Pi OS does at its first boot into a root file system."""
    for name, text in FIRST_BOOT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for folder, names in UNITS.items():
        wants = root / "etc/systemd/system" / folder
        wants.mkdir(parents=True, exist_ok=True)
        for name in names:
            if not (wants / name).is_symlink():
                (wants / name).symlink_to(f"/usr/lib/systemd/system/{name}")
    for name in DISABLED:
        (root / "etc/systemd/system" / name).unlink(missing_ok=True)
    (root / "etc/rc3.d").mkdir(exist_ok=True)
    (root / "etc/rc3.d/S01resize2fs_once").symlink_to("../init.d/resize2fs_once")


def write(root: Path, boot: Path, work: Path, root_mib: int) -> Path:
    """Make the disk of a root file system and a boot partition, and return its file."""
    fat, ext4, disk = work / "bootfs", work / "rootfs", work / "raspios.img"
    run("mkfs.vfat", "-F", "32", "-n", "bootfs", "-C", fat, str(BOOT_MIB * 1024))
    run("mcopy", "-i", fat, "-s", "-Q", *sorted(boot.iterdir()), "::")
    run("mke2fs", "-q", "-t", "ext4", "-L", "rootfs", "-O", "^huge_file", "-d", root, ext4, f"{root_mib}M")
    with disk.open("wb") as file:
        file.write(
            partition_table([(0x0C, START, BOOT_MIB * MIB), (0x83, START + BOOT_MIB * MIB, root_mib * MIB)])
        )
        for part, offset in ((fat, START), (ext4, START + BOOT_MIB * MIB)):
            file.seek(offset)
            with part.open("rb") as opened:
                while chunk := opened.read(MIB):
                    file.write(chunk)
    fat.unlink()
    ext4.unlink()
    return disk


def partition_table(entries: list[tuple[int, int, int]]) -> bytes:
    """Return an MBR. entries: type, first byte and size of each partition."""
    packed = b"".join(struct.pack("<4xB3x2I", kind, at // 512, size // 512) for kind, at, size in entries)
    return bytes(440) + bytes.fromhex("4e2a5d1d0000") + packed.ljust(64, b"\0") + b"\x55\xaa"


def run(*command: str | Path) -> None:
    """Run a tool."""
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
