"""The disk of an image, written with the machine's own tools: its layout, and two builds that are equal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tools.image import clean, disk, writing
from tools.image.compare import compare
from tools.image.disk import BOOT_A, ROOT_A, SITE, Identity
from tools.image.writing import PATH, Tools

pytestmark = pytest.mark.skipif(
    not all(shutil.which(name, path=PATH) for name in ("genimage", "mcopy", "mkfs.vfat", "mke2fs")),
    reason="needs the tools of an image (tools/setup image)",
)
EPOCH = 1_700_000_000
FILES = {
    SITE: {"bootcode.bin": "rom", "autoboot.txt": "[all]\nboot_partition=2\n"},
    BOOT_A: {"vmlinuz": "kernel" * 10_000, "overlays/one.dtbo": "x"},
    ROOT_A: {"etc/hostname": "smart-meter\n", "usr/bin/tool": "#!/bin/sh\n", "var/empty": ""},
}


def build(folder: Path, change: Callable[[Path], None] = lambda _: None, grub: Path | None = None) -> Path:
    """Write a disk of these files. change: called with the folder of the contents before they are written."""
    identity, tools = Identity("digest of the inputs"), Tools(folder, EPOCH)
    parts = folder / "parts"
    for partition in disk.PARTITIONS:
        content = parts / partition.label
        content.mkdir(parents=True)
        # In another order, they would have other places in the folder.
        for name, text in sorted(FILES.get(partition, {}).items(), reverse=folder.name == "second"):
            (content / name).parent.mkdir(parents=True, exist_ok=True)
            (content / name).write_text(text)
    change(parts)
    for partition in disk.PARTITIONS:
        content, file = parts / partition.label, parts / partition.file
        clean.set_times(content, EPOCH)
        if partition.is_fat:
            writing.write_fat(tools, identity, partition, content, file)
        else:
            writing.write_ext4(tools, identity, partition, content, file)
    return writing.assemble(tools, identity, parts, "disk.img", grub)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    return first, second


def test_two_builds_from_the_same_inputs_are_equal(folders: tuple[Path, Path]) -> None:
    first, second = (build(folder) for folder in folders)

    assert list(compare(first, second)) == []


def test_each_file_that_differs_is_named_with_its_partition(folders: tuple[Path, Path]) -> None:
    def change(parts: Path) -> None:
        (parts / "boot-a/vmlinuz").write_text("another kernel")
        (parts / "root-a/etc/hostname").write_text("another\n")
        (parts / "root-a/usr/bin/tool").chmod(0o700)

    first, second = build(folders[0]), build(folders[1], change)

    assert list(compare(first, second)) == [
        "boot-a: /vmlinuz: content",
        "root-a: /etc/hostname: content",
        "root-a: /usr/bin/tool: mode",
    ]


def test_a_pcs_boot_loader_does_not_change_the_table(folders: tuple[Path, Path], tmp_path: Path) -> None:
    grub = tmp_path / "grub"
    grub.mkdir()
    (grub / "boot.img").write_bytes(os.urandom(512))
    (grub / "core.img").write_bytes(os.urandom(100_000))

    image = build(folders[0], grub=grub)

    with image.open("rb") as file:
        content = file.read(disk.MIB)
    assert content[:440] == (grub / "boot.img").read_bytes()[:440]
    assert content[512 : 512 + 100_000] == (grub / "core.img").read_bytes()
    # The layout is right, or `assemble` would have failed.
    assert content[440:444] == Identity("digest of the inputs").signature.to_bytes(4, "little")
