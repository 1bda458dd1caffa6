"""Which downloaded images are refused, and that nothing of Raspberry Pi OS's first boot is left."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tools.image import base, boot, disk
from tools.image.disk import MIB
from tools.image.process import BuildError
from tools.image.settings import removed_packages
from tools.image.writing import PATH

from tests.image import raspios

pytestmark = pytest.mark.skipif(
    not all(shutil.which(name, path=PATH) for name in ("mcopy", "mkfs.vfat", "mke2fs")),
    reason="needs the tools of an image (tools/setup image)",
)
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00"
ARM64, ARMHF = (183).to_bytes(2, "little"), (40).to_bytes(2, "little")
RELEASE = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    files = {
        "usr/lib/os-release": RELEASE.encode(),
        "usr/bin/dpkg": ELF + ARM64,
        "boot/vmlinuz-6.12.47+rpt-rpi-v8": b"",
        "boot/vmlinuz-6.12.47+rpt-rpi-2712": b"",
        "etc/passwd": b"root:x:0:0::/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n",
        "var/lib/dpkg/status": b"Package: dash\nStatus: install ok installed\n",
        "etc/ssh/sshd_config": b"",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    raspios.plant(root)
    return root


def write(root: Path, mib: int = 8) -> Path:
    firmware = root.parent / "firmware"
    for name, text in raspios.BOOT.items():
        (firmware / name).parent.mkdir(parents=True, exist_ok=True)
        (firmware / name).write_text(text)
    return raspios.write(root, firmware, root.parent, mib)


def test_an_image_as_it_was_downloaded_is_accepted(root: Path) -> None:
    image = write(root)

    found = base.check(image, "arm64", 1024)

    assert (found.boot.offset, found.boot.size) == (8 * MIB, 64 * MIB)
    assert (found.root.offset, found.root.size) == (72 * MIB, 8 * MIB)
    listed = subprocess.run(
        ["mdir", "-b", "-i", found.fat, "::"],
        env=raspios.ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "::/cmdline.txt" in listed


Change = Callable[[Path], object]


def replace(name: str, content: bytes) -> Change:
    def change(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return change


def remove_kernels(root: Path) -> None:
    for path in (root / "boot").glob("vmlinuz-*"):
        path.unlink()


def enable(root: Path) -> None:
    (root / "etc/systemd/system/x.wants").mkdir()
    (root / "etc/systemd/system/x.wants/userconfig.service").symlink_to("/usr/lib/systemd/system/x")


BOOKWORM = RELEASE.replace("trixie", "bookworm").encode()
ID = b"0123456789abcdef0123456789abcdef\n"
STARTED = "is of a card that has started"
WRONG_ROOTS: list[tuple[Change, str]] = [
    (replace("usr/lib/os-release", BOOKWORM), "is bookworm, not trixie: download"),
    (replace("usr/lib/os-release", b""), "has no Debian in its second partition: download"),
    (replace("usr/bin/dpkg", ELF + ARMHF), "is for armhf, not for arm64: download"),
    (replace("usr/bin/dpkg", b"#!/bin/sh\n"), "is for an unknown processor, not for arm64"),
    (replace("etc/machine-id", ID), f"{STARTED} .it has a machine-id.: use the image"),
    (replace("etc/ssh/ssh_host_ed25519_key", b""), f"{STARTED} .it has SSH host keys."),
    (replace("var/lib/cloud/instances/rpios/x", b""), f"{STARTED} .cloud-init has run."),
    (replace("usr/share/wayland-sessions/x.desktop", b""), "has a desktop: use Raspberry Pi OS Lite"),
    (
        replace("var/large", os.urandom(3 * MIB)),
        "is too large: [0-9]+ MiB of 3 for the root file system; use the",
    ),
    (remove_kernels, "has no kernel rpi-2712 and no kernel rpi-v8: download"),
]


@pytest.mark.parametrize(("change", "problem"), WRONG_ROOTS, ids=[problem for _, problem in WRONG_ROOTS])
def test_another_system_is_refused_with_the_fix(root: Path, change: Change, problem: str) -> None:
    change(root)
    image = write(root)

    with pytest.raises(BuildError, match=f"^image_base: {image} {problem}"):
        base.check(image, "arm64", 3)


FAT, LINUX = (0x0C, 8 * MIB, 64 * MIB), (0x83, 72 * MIB, 8 * MIB)
WRONG_FILES = [
    (b"\xfd7zXZ\0" + bytes(600), r"is compressed: unpack it first \(unxz --keep"),
    (b"PK\x03\x04" + bytes(600), r"is compressed: unpack it first \(unzip"),
    (b"\x1f\x8b" + bytes(600), "is compressed"),
    (b"", "is not the image of a disk"),
    (bytes(100_000), "is not the image of a disk"),
    (raspios.partition_table([FAT]), "has no root file system as its second partition"),
    (raspios.partition_table([FAT, (0x82, *LINUX[1:])]), "has no root file system as its second partition"),
    (raspios.partition_table([(0xEE, *FAT[1:])]), "has no FAT as its first partition"),
    (raspios.partition_table([FAT, LINUX, (0x83, 90 * MIB, MIB)]), "has more partitions than two"),
    (raspios.partition_table([FAT, LINUX]), "is not complete, [0-9]+ bytes are missing: download it again"),
    (
        raspios.partition_table([FAT, LINUX]) + bytes(80 * MIB),
        "is not ext4: use the image as it was downloaded",
    ),
]


@pytest.mark.parametrize(("content", "problem"), WRONG_FILES, ids=[problem for _, problem in WRONG_FILES])
def test_another_file_is_refused_with_the_fix(tmp_path: Path, content: bytes, problem: str) -> None:
    image = tmp_path / "base.img"
    image.write_bytes(content)

    with pytest.raises(BuildError, match=f"^image_base: .*{image} {problem}"):
        base.check(image, "arm64", 1024)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=f"{tmp_path}/none.img can't be read: No such file.*; download Raspberry"
    ):
        base.check(tmp_path / "none.img", "arm64", 1024)


def test_nothing_of_the_first_boot_is_left(root: Path) -> None:
    # The wizard's user has gone by then (base.sh).
    left = list(base.first_boot_problems(root))
    assert len(left) > 15

    base.remove_first_boot(root)

    assert list(base.first_boot_problems(root)) == []
    for name in raspios.DISABLED:
        assert (root / "etc/systemd/system" / name).is_symlink()
    assert list((root / "var/lib/NetworkManager").iterdir()) == []
    assert not (root / "etc/rc3.d/S01resize2fs_once").is_symlink()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (replace("etc/passwd", b"me:x:1000:1000::/home/me:/bin/bash\n"), "etc/passwd: the user me"),
        (
            replace("var/lib/dpkg/status", b"Package: cloud-init\nStatus: install ok installed\n"),
            "the package cloud-init is installed",
        ),
        (enable, "etc/systemd/system/x.wants/userconfig.service is enabled"),
        (replace("var/swap", b""), "var/swap is there"),
    ],
)
def test_what_is_left_is_named(root: Path, change: Change, problem: str) -> None:
    base.remove_first_boot(root)
    change(root)

    assert list(base.first_boot_problems(root)) == [problem]


def test_a_kernel_that_was_removed_with_a_package_is_named(root: Path) -> None:
    assert list(base.lost_kernels(root)) == []
    (root / "boot/vmlinuz-6.12.47+rpt-rpi-2712").unlink()

    assert list(base.lost_kernels(root)) == ["the kernel rpi-2712 was removed"]


def test_the_packages_of_the_first_boot_are_removed() -> None:
    assert {"cloud-init", "userconf-pi", "rpi-swap", "dphys-swapfile"} <= set(removed_packages())


def test_the_boot_partition_has_the_firmware_and_none_of_the_first_boot(root: Path) -> None:
    firmware = root / base.FIRMWARE
    for name, text in raspios.BOOT.items():
        (firmware / name).parent.mkdir(parents=True, exist_ok=True)
        (firmware / name).write_text(text)
    kernels = base.kernels_in([path.name for path in (root / "boot").iterdir()])
    for version in kernels.values():
        (root / f"boot/initrd.img-{version}").write_text(f"initrd of {version}")
    site, first = root.parent / "site", root.parent / "boot-a"
    site.mkdir()
    first.mkdir()

    boot.write_raspberry_pi(root, disk.Identity("inputs"), site, first, kernels)

    assert kernels == {"v8": "6.12.47+rpt-rpi-v8", "2712": "6.12.47+rpt-rpi-2712"}
    assert sorted(path.name for path in site.iterdir()) == ["autoboot.txt", "bootcode.bin"]
    assert sorted(str(path.relative_to(first)) for path in first.rglob("*")) == [
        *("bcm2711-rpi-4-b.dtb", "bootcode.bin", "cmdline.txt", "config.txt", "fixup.dat", "fixup4.dat"),
        *("initramfs8", "initramfs_2712", "kernel8.img", "kernel_2712.img", "overlays"),
        *("overlays/vc4-kms-v3d.dtbo", "start.elf", "start4.elf"),
    ]
    assert (first / "initramfs_2712").read_text() == "initrd of 6.12.47+rpt-rpi-2712"
    words = (first / "cmdline.txt").read_text().split()
    assert not {"resize", "quiet"} & set(words)
    assert [word for word in words if word.startswith(("init=", "ds="))] == []
    assert "ro" in words
