"""Small files that others may have written: read completely or refused, without blocking."""

import errno
import os
import threading
from pathlib import Path

import pytest

from smart_meter.config.small_file import read_small


def test_a_file_is_read_completely(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a = 1\n")
    assert read_small(tmp_path / "file") == b"a = 1\n"
    (tmp_path / "link").symlink_to("file")
    assert read_small(tmp_path / "link", limit=6) == b"a = 1\n"


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234567")
    for path in (tmp_path / "file", Path("/dev/zero")):
        with pytest.raises(OSError, match="longer than 6 bytes") as refused:
            read_small(path, limit=6)
        assert refused.value.errno == errno.EFBIG


def test_a_named_pipe_is_refused_with_or_without_a_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="it is a named pipe, not a file"):
        read_small(pipe)
    writer = os.open(pipe, os.O_RDWR)
    try:
        with pytest.raises(OSError, match="it is a named pipe, not a file"):
            read_small(pipe)
    finally:
        os.close(writer)


def test_an_inherited_pipe_is_read_to_its_end() -> None:
    out, into = os.pipe()
    text = b"#" * 200_000  # More than a pipe holds.

    def write() -> None:
        with open(into, "wb") as file:
            file.write(text)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert read_small(Path(f"/dev/fd/{out}")) == text
    finally:
        writer.join()
        os.close(out)


def test_a_file_that_can_not_be_read_raises_an_oserror(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", tmp_path / ("x" * 300)):
        with pytest.raises(OSError, match=r"\[Errno"):
            read_small(path)


def test_in_a_folder_of_another_user_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a = 1\n")
    assert read_small(tmp_path / "file", follow=False) == b"a = 1\n"

    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        read_small(tmp_path / "link", follow=False)

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match=r"is not a regular file|\[Errno"):
            read_small(path, follow=False)
