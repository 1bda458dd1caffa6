"""Two builds from the same inputs are equal, or each file that differs is named."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from tools.image import disk
from tools.image.compare import compare, compare_trees
from tools.image.process import BuildError
from tools.image.state import mbr
from tools.image.state.mbr import Entry

MIB = 1024 * 1024


def table(*entries: tuple[int, int, int]) -> bytes:
    """A sector with a partition table: (type, first sector, sectors) of each partition."""
    packed = b"".join(struct.pack("<4xB3xII", *entry) for entry in entries)
    return bytes(446) + packed.ljust(64, b"\0") + b"\x55\xaa"


def image(path: Path) -> Path:
    """A disk with the layout's partitions, each of one sector."""
    sectors = {
        0: table((0x0C, 8, 1), (0x0C, 9, 1), (0x0C, 10, 1), (0x0F, 16, 16)),
        16: table((0x83, 1, 1), (0x05, 4, 4)),
        20: table((0x83, 1, 1), (0x05, 8, 4)),
        24: table((0x83, 1, 1), (0x05, 12, 4)),
        28: table((0x83, 1, 1)),
    }
    content = b"".join(sectors.get(number, bytes(512)) for number in range(32))
    path.write_bytes(content[:440] + struct.pack("<I", 0x12345678) + content[444:])
    return path


def test_primary_and_logical_partitions_are_numbered_as_linux_does(tmp_path: Path) -> None:
    disk_file = image(tmp_path / "disk.img")

    assert mbr.read(disk_file) == [
        Entry(1, 0x0C, 8 * 512, 512),
        Entry(2, 0x0C, 9 * 512, 512),
        Entry(3, 0x0C, 10 * 512, 512),
        Entry(4, 0x0F, 16 * 512, 16 * 512),
        Entry(5, 0x83, 17 * 512, 512),
        Entry(6, 0x83, 21 * 512, 512),
        Entry(7, 0x83, 25 * 512, 512),
        Entry(8, 0x83, 29 * 512, 512),
    ]
    assert mbr.signature(disk_file) == 0x12345678


@pytest.mark.parametrize("content", [b"", bytes(512), table((0x0F, 1, 1))])
def test_what_is_not_a_partition_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "disk.img").write_bytes(content)

    with pytest.raises(ValueError, match="is not a partition table"):
        mbr.read(tmp_path / "disk.img")


def test_tables_in_a_ring_are_refused(tmp_path: Path) -> None:
    ring = table((0x0F, 1, 9)) + table((0x83, 1, 1), (0x05, 0, 1))
    (tmp_path / "disk.img").write_bytes(ring)

    with pytest.raises(ValueError, match="form a ring"):
        mbr.read(tmp_path / "disk.img")


def test_the_same_image_has_no_difference(tmp_path: Path) -> None:
    assert list(compare(image(tmp_path / "a.img"), image(tmp_path / "b.img"))) == []


def test_what_is_outside_of_partitions_is_compared(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.img"), image(tmp_path / "b.img")
    content = bytearray(second.read_bytes())
    content[5 * 512] = 1
    second.write_bytes(content)

    assert list(compare(first, second)) == ["the sectors before the first partition differ"]


def test_another_layout_is_named(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.img"), image(tmp_path / "b.img")
    content = second.read_bytes()
    second.write_bytes(table((0x0C, 8, 2)) + content[512:])

    assert list(compare(first, second)) == ["the partition tables differ"]


def test_a_file_system_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.img"), image(tmp_path / "b.img")
    for number, path in enumerate((first, second)):
        content = bytearray(path.read_bytes())
        content[17 * 512] = number
        path.write_bytes(content)

    with pytest.raises(BuildError, match=r"a.img: the partition root-a can't be read: .*not open"):
        list(compare(first, second))


def test_a_fat_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.img"), image(tmp_path / "b.img")
    content = bytearray(second.read_bytes())
    content[8 * 512] = 1
    second.write_bytes(content)

    with pytest.raises(BuildError, match=r"a.img: the partition site can't be read: "):
        list(compare(first, second))


def test_an_empty_partition_has_no_files_to_compare(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.img"), image(tmp_path / "b.img")
    content = bytearray(second.read_bytes())
    content[25 * 512] = 1
    second.write_bytes(content)

    assert list(compare(first, second)) == ["spare: the content differs, which should be empty"]


def test_a_compressed_image_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "a.img.xz").write_bytes(b"\xfd7zXZ\0" + bytes(600))

    with pytest.raises(BuildError, match=r"a.img.xz is compressed: unpack it first .unxz --keep .*a.img.xz"):
        list(compare(tmp_path / "a.img.xz", image(tmp_path / "b.img")))


def test_each_path_that_differs_is_named_with_what_differs(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for tree in (first, second):
        tree.mkdir()
        for name in ("same", "content", "mode", "time"):
            (tree / name).write_text("x")
            os.utime(tree / name, (1, 1))
        (tree / "link").symlink_to("same")
    (second / "content").write_text("y")
    os.utime(second / "content", (1, 1))
    (second / "mode").chmod(0o600)
    os.utime(second / "time", (2, 2))
    (second / "link").unlink()
    (second / "link").symlink_to("mode")
    (second / "more").touch()

    found = list(compare_trees(first, second))

    assert found[:4] == [
        "/content: content",
        "/link: content",
        "/mode: mode",
        "/more: existence, mode, owner, time, content",
    ]
    assert found[4:] == ["/time: time"]


def test_times_of_change_are_set_for_every_file_of_a_file_system() -> None:
    text = "Filesystem volume name:   root-a\nInode count:              64\nFree inodes:              51\n"

    assert disk.used_inodes(text) == 13
    assert disk.times_script(1_700_000_000, 13).splitlines() == [
        "set_inode_field <12> ctime @1700000000",
        "set_inode_field <12> atime @1700000000",
        "set_inode_field <13> ctime @1700000000",
        "set_inode_field <13> atime @1700000000",
    ]
