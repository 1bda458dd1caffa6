"""`smart-meter history backup` and `restore`: copy the history in use, and take a copy back."""

from __future__ import annotations

import os
import time
from contextlib import closing, suppress
from pathlib import Path

from smart_meter.cli.target import ArgumentsError
from smart_meter.config import HistoryConfig
from smart_meter.history import backup
from smart_meter.history.database import Database
from smart_meter.history.limits import StorageLimits
from smart_meter.history.reader import Reader

WAIT_SECONDS = 600.0
"""How long `restore` waits for the service to take the copy."""
_POLL_SECONDS = 0.2
_NOT_RUNNING_SECONDS = 5.0
"""The service looks for a copy once a second."""


def copy_history(action: str, path: str, copy: Path | None) -> int:
    """Make a copy of the history, or take one back; return the exit code. Raises as `Reader` does."""
    if copy is None:
        raise ArgumentsError(f"history {action}: name the copy")
    if action == "backup":
        return _back_up(path, str(copy))
    return _restore(path, str(copy))


def _back_up(path: str, copy: str) -> int:
    if os.path.lexists(copy):
        raise ArgumentsError(f"{copy} exists; name another file, or remove it")
    _check(path)
    backup.copy(path, copy)
    print(f"{path} was copied to {copy}")
    return 0


def _restore(path: str, copy: str) -> int:
    if backup.is_waiting(path) or backup.has_rows_to_append(path):
        raise ArgumentsError(f"{path}: another copy is being restored; wait until the service has taken it")
    _check(copy)
    backup.copy(copy, path + backup.COPY, finish=lambda part: _prepare(part, path))
    print(f"{copy} was put beside {path}; the service takes it now, or when it starts")
    return _wait(path)


def _check(path: str) -> None:
    with closing(Reader(path)):
        pass


def _prepare(part: str, path: str) -> None:
    """Give a copy a generation of its own, since other rows follow, and the owner of the history."""
    limits = StorageLimits.of(HistoryConfig(max_age_days=36500, max_size_mib=1048576))
    with closing(Database(part, limits, 1.0)) as database, database.transaction():
        database.begin_generation(database.newest + 1)
    like = os.stat(path if os.path.exists(path) else os.path.dirname(path))
    os.chown(part, like.st_uid, like.st_gid)
    with suppress(OSError):
        os.chmod(part, 0o640)


def _wait(path: str) -> int:
    began = time.monotonic()
    while backup.is_waiting(path) or backup.has_rows_to_append(path):
        waited = time.monotonic() - began
        if backup.is_waiting(path) and waited > _NOT_RUNNING_SECONDS:
            print("the service does not run; it takes the copy when it starts")
            return 0
        if waited > WAIT_SECONDS:
            raise ArgumentsError(
                f"{path}: the service is still at work; journalctl -u smart-meter shows how it ends"
            )
        time.sleep(_POLL_SECONDS)
    print("the service has taken the copy and appended the rows recorded since")
    return 0
