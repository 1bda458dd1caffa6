"""`smart-meter events add` and `send-waiting`: events that root adds to the audit trail.

If the service is not running, an event waits in a file. Each of its lines is `SECONDS KIND TEXT`, with Unix
seconds. smart-meter-guard writes such lines, too; both lock the file, and neither replaces it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smart_meter.cli.target import ArgumentsError
from smart_meter.log.audit.kinds import BY_ROOT, Kind
from smart_meter.runtime.event_socket import BUSY, MAX_MESSAGE, OK, RootEvent, printable, send

MAX_WAITING = 64 * 1024
"""Bytes of the file; smart-meter-guard has the same limit."""
PATIENCE = 1.0
"""Seconds that one command may wait for the service and for the file: a rollback must not wait for them."""
_POLL_SECONDS = 0.05
_MAX_DIGITS = 12


class _FailedError(Exception):
    """The event was not added; the message explains why."""


class _RefusedError(Exception):
    """The event is not valid; the message explains why."""


class _UnavailableError(Exception):
    """The service did not take the event now; the message explains why."""


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if the events were added or wait, 1 if that failed, 2 for invalid arguments."""
    deadline = time.monotonic() + PATIENCE
    runtime, waiting = Path(arguments.runtime), Path(arguments.waiting)
    try:
        if arguments.action == "add":
            _add(_event(arguments.event_kind, arguments.event_text), runtime, waiting, deadline)
        else:
            _send_waiting(runtime, waiting, deadline)
    except ArgumentsError as error:
        print(f"smart-meter: {error}", file=sys.stderr)
        return 2
    except (_FailedError, _RefusedError, _UnavailableError) as error:
        print(f"smart-meter: {error}", file=sys.stderr)
        return 1
    return 0


def _event(kind: str | None, text: str | None) -> RootEvent:
    shown = printable(text or "")
    if kind is None or not shown:
        raise ArgumentsError("events add: give a KIND and a TEXT")
    event = RootEvent(Kind(kind), shown, float(int(time.time())))
    if len(event.message()) > MAX_MESSAGE:
        raise ArgumentsError(f"events add: TEXT is too long; give at most {MAX_MESSAGE - 100} bytes")
    return event


def _add(event: RootEvent, runtime: Path, waiting: Path, deadline: float) -> None:
    try:
        _send(event, runtime, deadline)
    except _UnavailableError as unavailable:
        _append(event, waiting, deadline)
        print(f"{unavailable}; the event waits in {waiting} until the service starts")


def _send(event: RootEvent, runtime: Path, deadline: float) -> None:
    """Send an event to the service. Raises _FailedError, _RefusedError or _UnavailableError."""
    while True:
        try:
            reply = send(runtime, event, max(deadline - time.monotonic(), _POLL_SECONDS))
        except (FileNotFoundError, ConnectionRefusedError):
            raise _UnavailableError("the service is not running") from None
        except TimeoutError:
            raise _UnavailableError("the service does not answer") from None
        except PermissionError:
            raise _FailedError("only root may add events; use sudo") from None
        except OSError as error:
            raise _UnavailableError(f"{runtime}: {error.strerror or error}") from error
        if reply == OK:
            return
        if not reply:
            raise _FailedError("the service accepts events only from root")
        if reply != BUSY:
            raise _RefusedError(reply)
        if time.monotonic() > deadline:
            raise _UnavailableError("the service is busy with other events")
        time.sleep(_POLL_SECONDS)


def _append(event: RootEvent, waiting: Path, deadline: float) -> None:
    line = f"{event.at or 0:.0f} {event.kind.value} {event.text}\n".encode(errors="replace")
    try:
        if waiting.parent.name and not waiting.parent.exists():
            waiting.parent.mkdir(mode=0o700)
        with _locked(waiting, os.O_CREAT | os.O_APPEND, deadline) as descriptor:
            if os.fstat(descriptor).st_size + len(line) > MAX_WAITING:
                raise _FailedError(f"{waiting} is full, so the event was not added; start the service")
            os.write(descriptor, line)
            os.fsync(descriptor)
    except OSError as error:
        raise _FailedError(_explain(error, waiting)) from error


def _send_waiting(runtime: Path, waiting: Path, deadline: float) -> None:
    """Send the events in the file, and remove each that was sent or that is not valid."""
    try:
        with _locked(waiting, 0, deadline) as descriptor:
            lines = os.pread(descriptor, 2 * MAX_WAITING, 0).splitlines(keepends=True)
            while lines:
                line = lines[0].decode(errors="replace")
                try:
                    _send(_parse(line), runtime, deadline)
                except _RefusedError as error:
                    print(f"smart-meter: {waiting}: removed {line[:200]!a}: {error}", file=sys.stderr)
                del lines[0]
                # After each event, since the caller's time limit may end this process.
                rest = b"".join(lines)
                os.pwrite(descriptor, rest, 0)
                os.ftruncate(descriptor, len(rest))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _FailedError(_explain(error, waiting)) from error


def _parse(line: str) -> RootEvent:
    """Return the event of a line. Raises _RefusedError if it is not valid."""
    seconds, _, rest = line.partition(" ")
    name, _, text = rest.partition(" ")
    shown = printable(text)
    kinds = {kind.value: kind for kind in BY_ROOT}
    is_time = seconds.isascii() and seconds.isdigit() and len(seconds) <= _MAX_DIGITS
    if not is_time or name not in kinds or not shown:
        raise _RefusedError("it is not SECONDS KIND TEXT")
    return RootEvent(kinds[name], shown, float(seconds))


@contextmanager
def _locked(path: Path, flags: int, deadline: float) -> Iterator[int]:
    """Open a file that nobody else has locked. Raises OSError or _UnavailableError."""
    flags |= os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _FailedError(f"{path}: it is not a file")
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _UnavailableError(f"{path} is in use") from None
                time.sleep(_POLL_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _explain(error: OSError, path: Path) -> str:
    if isinstance(error, PermissionError):
        return "only root may add events; use sudo"
    return f"{path}: {error.strerror or error}"
