"""The files of the FAT partitions, and what they leave in the root file system."""

from __future__ import annotations

import os
from pathlib import Path

from tools.image import boot


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
