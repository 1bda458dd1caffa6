"""The partitions of the disk that the system runs from."""

from __future__ import annotations

import ctypes
import fcntl
from pathlib import Path

import pytest
from tools.image.state.devices import Disk


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A disk as sysfs shows it: p4 is the extended partition."""
    folder = tmp_path / "sys/mmcblk0"
    for number, start, sectors in ((1, 8192, 131072), (4, 663552, 2), (8, 5000000, 131072)):
        part = folder / f"mmcblk0p{number}"
        part.mkdir(parents=True)
        for name, value in (("partition", number), ("start", start), ("size", sectors)):
            (part / name).write_text(f"{value}\n")
    (folder / "queue").mkdir()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/mmcblk0").touch()
    return Disk(folder, tmp_path / "dev")


def test_a_partition_is_found_by_its_number(disk: Disk) -> None:
    assert disk.device.name == "mmcblk0"
    assert disk.partition(8) == disk.dev / "mmcblk0p8"
    assert disk.sectors(8) == 131072


def test_a_partition_that_the_kernel_does_not_have_is_an_error(disk: Disk) -> None:
    with pytest.raises(FileNotFoundError, match="mmcblk0 has no partition 7"):
        disk.partition(7)


def test_the_kernel_gets_where_the_partition_begins_and_its_new_size_in_bytes(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, int, int]] = []

    def ioctl(_: object, request: int, argument: bytes) -> None:
        operation, _flags, size = (int.from_bytes(argument[i : i + 4], "little") for i in (0, 4, 8))
        partition = ctypes.string_at(int.from_bytes(argument[16:24], "little"), size)
        start, length = (int.from_bytes(partition[i : i + 8], "little") for i in (0, 8))
        asked.append((request, operation, start, length))
        assert int.from_bytes(partition[16:20], "little") == 8
        # linux/blkpg.h: two long long, an int, and two names of 64 bytes.
        assert size == 152

    monkeypatch.setattr(fcntl, "ioctl", ioctl)

    disk.resize(8, 200_000)

    assert asked == [(0x1269, 3, 5_000_000 * 512, 200_000 * 512)]
