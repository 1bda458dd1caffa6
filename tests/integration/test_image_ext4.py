"""A file system that mke2fs has made is read as it is. Needs root: it makes devices."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from tools.image.ext4 import Ext4, Ext4Error
from tools.image.writing import PATH

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes devices"),
    pytest.mark.skipif(not shutil.which("mke2fs", path=PATH), reason="needs e2fsprogs (tools/setup image)"),
]
OFFSET = 1024 * 1024
# linux/capability.h: version 2, effective, CAP_NET_RAW
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
# Each makes other structures on the disk. `make image`'s own and Raspberry Pi OS's are among them.
FEATURES = [
    [],
    ["-O", "^huge_file"],
    ["-O", "^64bit,^metadata_csum"],
    ["-b", "1024", "-O", "^flex_bg"],
    ["-I", "512"],
]


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """A folder with every kind of file."""
    root = tmp_path / "content"
    (root / "usr/bin").mkdir(parents=True)
    (root / "many").mkdir()
    (root / "lost+found").mkdir()
    for number in range(500):
        (root / "many" / f"a-name-that-makes-the-folder-large-{number}").touch()
    (root / "usr/bin/sudo").write_bytes(b"sudo")
    (root / "usr/bin/sudo").chmod(0o4755)
    (root / "usr/bin/ping").write_bytes(b"ping")
    os.setxattr(root / "usr/bin/ping", "security.capability", CAPABILITY)
    os.setxattr(root / "usr/bin/ping", "user.note", b"x" * 700)
    (root / "mail").mkdir(mode=0o2775)
    os.chown(root / "mail", 70_000, 8)
    (root / "mail").chmod(0o2775)
    os.link(root / "usr/bin/sudo", root / "usr/sudoedit")
    (root / "short").symlink_to("usr")
    (root / "long").symlink_to("x" * 200)
    os.mkfifo(root / "fifo", 0o600)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 300))
    (root / "big").write_bytes(os.urandom(9 * 1024 * 1024 + 5))
    with (root / "sparse").open("wb") as file:
        for position in range(0, 60):
            file.seek(position * 100_000)
            file.write(bytes([position + 1]) * 10)
        file.truncate(20_000_000)
    (root / "ü ber").write_text("text\n")
    os.utime(root / "ü ber", ns=(0, 1_234_567_890_123_456_789))
    os.utime(root / "usr", ns=(0, -86_400 * 10**9))
    return root


def image(content: Path, options: list[str]) -> Path:
    file = content.parent / "disk.img"
    with file.open("wb") as opened:
        opened.truncate(OFFSET)
    command: list[str | Path] = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-E",
        f"offset={OFFSET}",
        "-d",
        content,
        *options,
        file,
        "64M",
    ]
    subprocess.run(command, check=True, env={"PATH": PATH})
    return file


def described(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *root.rglob("*")]:
        name = str(path.relative_to(root))
        if name == "lost+found":
            continue
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = (
            os.readlink(path) if stat.S_ISLNK(kind) else path.read_bytes() if stat.S_ISREG(kind) else b""
        )
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        links = 1 if stat.S_ISDIR(kind) else status.st_nlink
        modified = 0 if name == "." else status.st_mtime_ns // 10**9
        found[name] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_rdev,
            links,
            modified,
            content,
            xattrs,
        )
    return found


@pytest.mark.parametrize("options", FEATURES, ids=lambda options: " ".join(options) or "default")
def test_everything_is_as_it_was(content: Path, tmp_path: Path, options: list[str]) -> None:
    with image(content, options).open("rb") as file:
        Ext4(file, OFFSET).extract(tmp_path / "out")

    before, after = described(content), described(tmp_path / "out")
    assert after == before
    assert (tmp_path / "out/usr/sudoedit").samefile(tmp_path / "out/usr/bin/sudo")
    # What was not written takes no room.
    assert (tmp_path / "out/sparse").stat().st_blocks * 512 < 2_000_000


def test_single_files_are_read(content: Path) -> None:
    with image(content, []).open("rb") as file:
        system = Ext4(file, OFFSET)

        assert system.read("usr/bin/ping") == b"ping"
        assert [system.read(name) for name in ("usr", "none", "usr/none/x", "big/x", "short")] == [None] * 5
        assert system.names("usr") == ["bin", "sudoedit"]
        assert [system.names(name) for name in ("none", "big")] == [[], []]
        assert 10_000_000 < system.used < 40_000_000


def test_what_is_not_a_whole_file_system_is_refused(content: Path) -> None:
    file = image(content, [])
    with file.open("rb") as opened, pytest.raises(Ext4Error, match="is not ext4"):
        Ext4(opened, 0)
    os.truncate(file, OFFSET + 100_000)
    with file.open("rb") as opened, pytest.raises(Ext4Error, match="is not complete"):
        Ext4(opened, OFFSET).extract(content.parent / "out")


@pytest.mark.parametrize(
    ("options", "problem"),
    [(["-O", "inline_data"], "not supported: 0x8000"), (["-O", "^extent,^64bit"], "without extents")],
)
def test_another_format_is_refused(content: Path, options: list[str], problem: str) -> None:
    with image(content, options).open("rb") as file, pytest.raises(Ext4Error, match=problem):
        Ext4(file, OFFSET).extract(content.parent / "out")


def test_one_that_was_not_unmounted_is_refused(content: Path) -> None:
    file = image(content, [])
    script = "feature needs_recovery\n"
    subprocess.run(
        ["debugfs", "-w", "-f", "-", f"{file}?offset={OFFSET}"],
        input=script, text=True, check=True, capture_output=True, env={"PATH": PATH},
    )  # fmt: skip
    with file.open("rb") as opened, pytest.raises(Ext4Error, match="was not unmounted"):
        Ext4(opened, OFFSET)
