"""Reads small files that others may have written: it neither blocks nor reads without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 1024 * 1024


def read_small(path: Path, limit: int = MAX_BYTES, *, follow: bool = True) -> bytes:
    """Return the content of a file.

    follow: whether a link and a device may be read. Root reads without it in folders of other users, who
    could make it read what they may not.
    A pipe that this process was given (`/dev/stdin`, `/dev/fd/63`) is read to its end. A named pipe is
    refused: opening one blocks until another program opens it for writing.
    Raises OSError; its errno is EFBIG if the content is longer than `limit` bytes.
    """
    # O_NONBLOCK: open(2) of a named pipe that has no writer returns at once.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    with open(descriptor, "rb") as file:
        if not follow and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        # The target of /dev/stdin ("pipe:[123]") is not a path of the file system.
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode) and path.resolve().is_fifo():
            raise OSError(errno.EINVAL, "it is a named pipe, not a file", str(path))
        os.set_blocking(descriptor, True)
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit} bytes", str(path))
    return content
