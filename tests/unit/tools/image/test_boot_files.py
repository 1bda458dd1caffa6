"""The files of the FAT partitions, and what they leave in the root file system."""

from __future__ import annotations

import os
from pathlib import Path

from tests.image import raspios
from tools.image import boot, disk


def test_a_kernel_is_on_the_boot_partition_only(tmp_path: Path) -> None:
    modules = tmp_path / "usr/lib/modules/7.3"
    modules.mkdir(parents=True)
    (tmp_path / "boot/firmware/overlays").mkdir(parents=True)
    for name in ("boot/initrd.img-7.3", "boot/config-7.3", "boot/firmware/start.elf"):
        (tmp_path / name).touch()
    # As linux-base does from 7.x on.
    (modules / "vmlinuz").touch()
    os.link(modules / "vmlinuz", tmp_path / "boot/vmlinuz-7.3")
    (tmp_path / "vmlinuz").symlink_to("boot/vmlinuz-7.3")
    (modules / "modules.dep").touch()

    boot.remove_from_root(tmp_path)

    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if not path.is_dir()}
    assert left == {"boot/config-7.3", "usr/lib/modules/7.3/modules.dep"}
    assert (tmp_path / "boot/firmware").is_dir()


def test_of_raspberry_pi_os_only_firmware_kernels_and_trees_are_copied(tmp_path: Path) -> None:
    firmware, site, first = (tmp_path / name for name in ("root/boot/firmware", "site", "first"))
    others = dict.fromkeys(
        ("wifi-backup.txt", "keys/id_ed25519", "start4x.elf", "kernel7l.img", "overlays/x.sh"), ""
    )
    for name, text in {**raspios.BOOT, **others}.items():
        (firmware / name).parent.mkdir(parents=True, exist_ok=True)
        (firmware / name).write_text(text)
    (tmp_path / "root/boot/initrd.img-6.12-rpi-v8").write_text("packed")
    site.mkdir()
    first.mkdir()

    boot.write_raspberry_pi(tmp_path / "root", disk.Identity("inputs"), site, first, {"v8": "6.12-rpi-v8"})

    copied = {str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()}
    assert copied == {
        *("bootcode.bin", "start.elf", "start4.elf", "fixup.dat", "fixup4.dat", "bcm2711-rpi-4-b.dtb"),
        *("kernel8.img", "kernel_2712.img", "overlays/vc4-kms-v3d.dtbo"),
        *("config.txt", "cmdline.txt", "initramfs8"),
    }
    assert (first / "initramfs8").read_text() == "packed"


def test_no_check_of_the_site_partition_delays_the_network(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()

    boot.write_fstab(tmp_path, disk.Identity("inputs"))

    passes = {
        fields[1]: fields[5] for fields in map(str.split, (tmp_path / "etc/fstab").read_text().splitlines())
    }
    assert passes == {"/": "0", "/boot/firmware": "0"}
