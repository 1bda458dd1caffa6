"""Reads small files that another program or user may have written: never blocks, and limits the size."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 1024 * 1024


def read_small(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a file.

    A pipe that this process inherited (`/dev/stdin`, `/dev/fd/63`) is read to its end. A named pipe is
    refused, because it may block for ever. Raises OSError, with errno EFBIG if the content is longer than
    `limit` bytes.
    """
    # With O_NONBLOCK, open(2) of a named pipe without a writer returns at once.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        # The target of /dev/stdin ("pipe:[123]") is not a file in any directory.
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode) and path.resolve().is_fifo():
            raise OSError(errno.EINVAL, "it is a named pipe, not a file", str(path))
        os.set_blocking(descriptor, True)
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit} bytes", str(path))
    return content
