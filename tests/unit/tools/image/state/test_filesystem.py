"""The file system of a state partition, on files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.unit.tools.image.state.card import MIB, TOOLS, put
from tools.image import disk
from tools.image.state import filesystem
from tools.image.state.filesystem import Health

pytestmark = TOOLS


@pytest.fixture
def device(tmp_path: Path) -> Path:
    file = tmp_path / "state"
    with file.open("wb") as opened:
        opened.truncate(64 * MIB)
    filesystem.make(file, "state")
    return file


def test_a_new_file_system_is_clean_and_as_large_as_its_partition(device: Path) -> None:
    assert filesystem.check(device)[0] is Health.CLEAN
    assert not filesystem.is_smaller(device)


def test_it_has_large_blocks_although_it_begins_small(device: Path) -> None:
    shown = subprocess.run(["/usr/sbin/dumpe2fs", "-h", device], capture_output=True, text=True, check=True)

    assert "Block size:               4096" in shown.stdout
    assert "Filesystem volume name:   state" in shown.stdout


def test_its_features_do_not_depend_on_the_machines_settings(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "mke2fs.conf"
    config.write_text("[defaults]\nbase_features = sparse_super,filetype,ext_attr\n")
    as_program(tmp_path, monkeypatch, "mke2fs", f'MKE2FS_CONFIG={config} exec /usr/sbin/mke2fs "$@"')

    filesystem.make(device, "state")

    shown = subprocess.run(["/usr/sbin/dumpe2fs", "-h", device], capture_output=True, text=True, check=True)
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("Filesystem features:")]
    none, *features = filesystem.FEATURES[1].split(",")
    assert (none, sorted(line.split()[2:])) == ("none", sorted(features))


@pytest.mark.parametrize(("mib", "smaller"), [(64, False), (67, False), (68, True), (30_000, True)])
def test_it_may_grow_if_four_mebibytes_are_free_behind_it(device: Path, mib: int, smaller: bool) -> None:
    with device.open("r+b") as file:
        file.truncate(mib * MIB)

    assert filesystem.is_smaller(device) is smaller


def test_after_growing_it_is_as_large_as_its_partition(device: Path) -> None:
    with device.open("r+b") as file:
        file.truncate(1500 * MIB)
    # A file system that is not mounted is checked completely first.
    subprocess.run(["/usr/sbin/e2fsck", "-fp", device], check=True, capture_output=True)

    filesystem.grow(device)

    assert not filesystem.is_smaller(device)
    assert filesystem.check(device)[0] is Health.CLEAN


def test_a_command_that_fails_is_an_error_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"resize2fs .*: "):
        filesystem.grow(tmp_path / "none")
    with pytest.raises(OSError, match=r"mke2fs .*: "):
        filesystem.make(tmp_path / "folder/none", "state")
    assert filesystem.check(tmp_path / "none")[0] is Health.BROKEN


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\xff" * 4096])
def test_what_is_no_ext4_has_no_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "device").write_bytes(content)

    with pytest.raises(ValueError, match="no ext4"):
        filesystem.is_smaller(tmp_path / "device")


@pytest.mark.parametrize(
    ("unreadable", "content", "made"),
    [([1024], bytes(1024), False), ([1024], b"\x53\xef" * 512, True), ([1024, 128 * MIB], b"", None)],
)
def test_one_of_the_two_superblocks_is_enough_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unreadable: list[int], content: bytes, made: bool | None
) -> None:
    def read(_: int, size: int, offset: int) -> bytes:
        if offset in unreadable:
            raise OSError(5, "Input/output error")
        return content

    (tmp_path / "device").touch()
    monkeypatch.setattr(os, "pread", read)

    if made is None:
        with pytest.raises(OSError, match="Input/output"):
            filesystem.was_made(tmp_path / "device")
    else:
        assert filesystem.was_made(tmp_path / "device") is made


def test_the_build_makes_the_state_as_a_fresh_one_is_made() -> None:
    command = disk.ext4_command(disk.Identity("inputs"), disk.STATE, None, Path("state.img"))
    text = " ".join(command)

    assert " ".join((*filesystem.FEATURES, *filesystem.MAKE)) in text
    for partition in (disk.ROOT_A, disk.ROOT_B):
        others = disk.ext4_command(disk.Identity("inputs"), partition, None, Path("root.img"))
        assert " ".join(filesystem.FEATURES) in " ".join(others)
    assert "-b" not in disk.ext4_command(disk.Identity("inputs"), disk.ROOT_A, None, Path("root-a.img"))


def as_program(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Let a script take the place of a program."""
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setattr(filesystem, "_PATH", f"{file.parent}:{filesystem._PATH}")


def test_a_check_that_was_killed_has_repaired_nothing(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_program(tmp_path, monkeypatch, "e2fsck", "kill -9 $$")

    assert filesystem.check(device)[0] is Health.BROKEN


def test_a_message_that_is_not_text_is_kept(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_program(tmp_path, monkeypatch, "e2fsck", "printf 'label \\377 is wrong\\n'; exit 8")

    assert filesystem.check(device) == (Health.BROKEN, "label \ufffd is wrong")


def test_a_program_that_does_not_end_is_stopped(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(filesystem, "_SECONDS", 0.2)
    for name in ("e2fsck", "mke2fs", "resize2fs"):
        as_program(tmp_path, monkeypatch, name, "exec sleep 60")

    assert filesystem.check(device) == (Health.BROKEN, "e2fsck did not end within 0.2 s")
    with pytest.raises(OSError, match=r"mke2fs did not end within 0\.2 s"):
        filesystem.make(device, "state")
    with pytest.raises(OSError, match=r"resize2fs did not end within 0\.2 s"):
        filesystem.grow(device)


def test_files_survive_a_check(device: Path) -> None:
    put(device, "kept", "content")

    assert filesystem.check(device)[0] is Health.CLEAN
