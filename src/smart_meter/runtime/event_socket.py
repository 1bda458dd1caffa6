"""The socket through which root adds events to the audit trail, and its client.

One message per connection: a JSON object with `kind`, `text` and, optionally, `at` (Unix seconds). The reply
is `OK`, `BUSY`, or the reason why the event was refused. A client that is not root gets no reply.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import stat
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from smart_meter.log.audit.kinds import BY_ROOT, Kind
from smart_meter.net.event_loop import READABLE, EventLoop, Timer

NAME = "events.sock"
"""The socket's name in the service's runtime directory."""
OK = "ok"
BUSY = "busy"
"""More than `EVENTS_PER_SECOND`, or too many connections: the client may try again."""
MAX_MESSAGE = 2048
MAX_CONNECTIONS = 8
MESSAGE_SECONDS = 2.0
"""How long a client may take to send its message."""
EVENTS_PER_SECOND = 10
_MAX_REPLY = 512
_PAUSE_SECONDS = 1.0
_SLACK_SECONDS = 5.0
_LATEST = 2**32
_CREDENTIALS = struct.Struct("iII")
"""struct ucred of unix(7): process, user, group."""
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class RootEvent(NamedTuple):
    """An event that root adds."""

    kind: Kind
    text: str
    at: float | None = None
    """Unix seconds at which it happened; None: now."""

    def message(self) -> bytes:
        """Return the message of this event."""
        content = {"kind": self.kind.value, "text": self.text, "at": self.at}
        return json.dumps(content, ensure_ascii=False).encode(errors="replace")


class EventSocket:
    """Listens in the runtime directory, and passes root's events on to the audit trail."""

    def __init__(
        self,
        loop: EventLoop,
        runtime: Path | None,
        note: Callable[[Kind, str, str], None],
        notice: Callable[[str], None],
        *,
        allowed_uid: int = 0,
    ) -> None:
        """runtime: the service's runtime directory; None: there is no socket. notice: logs a line.

        note: adds an event to the audit trail: its kind, its text, and when it happened if that was earlier.
        allowed_uid: the only user that may add events; in the service, root.
        """
        self._loop = loop
        self._path = None if runtime is None else runtime / NAME
        self._note = note
        self._notice = notice
        self._allowed_uid = allowed_uid
        self._listener: socket.socket | None = None
        self._connections: dict[socket.socket, Timer] = {}
        self._second = 0.0
        self._in_second = 0

    def start(self) -> None:
        """Create the socket in place of a stale one. If that fails, it is logged, and there is none."""
        if self._path is None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            _remove_stale(self._path)
            listener.bind(str(self._path))
            # Nobody can connect before the socket listens.
            self._path.chmod(0o600)
            listener.listen(MAX_CONNECTIONS)
        except OSError as error:
            listener.close()
            self._notice(f"[EVENTS] {self._path}: {error.strerror or error}; root can add no events")
            return
        self._listener = listener
        self._loop.watch(listener.fileno(), READABLE, self._accept)

    def close(self) -> None:
        """Remove the socket, and close every connection."""
        for connection in list(self._connections):
            self._discard(connection)
        if self._listener is not None and self._path is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _accept(self, _: int) -> None:
        if self._listener is None:
            return
        try:
            connection, _peer = self._listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                self._pause()
            # Otherwise the client has gone.
            return
        connection.setblocking(False)
        if not self._may_add(connection):
            connection.close()
        elif len(self._connections) >= MAX_CONNECTIONS:
            _reply(connection, BUSY)
            connection.close()
        else:
            self._connections[connection] = self._loop.after(
                MESSAGE_SECONDS, lambda: self._discard(connection)
            )
            self._loop.watch(connection.fileno(), READABLE, lambda _: self._read(connection))

    def _pause(self) -> None:
        """Accept nobody for a moment: epoll would report the waiting client again at once."""
        listener = self._listener
        if listener is None:
            return
        self._loop.unwatch(listener.fileno())

        def resume() -> None:
            if self._listener is listener:
                self._loop.watch(listener.fileno(), READABLE, self._accept)

        self._loop.after(_PAUSE_SECONDS, resume)

    def _may_add(self, connection: socket.socket) -> bool:
        try:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return False
        _process, uid, _group = _CREDENTIALS.unpack(credentials)
        return bool(uid == self._allowed_uid)

    def _read(self, connection: socket.socket) -> None:
        try:
            # A byte more than is allowed: the kernel cuts off the rest of a message.
            message = connection.recv(MAX_MESSAGE + 1)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        try:
            if message:
                _reply(connection, self._add(message))
        finally:
            self._discard(connection)

    def _add(self, message: bytes) -> str:
        if not self._admit():
            return BUSY
        try:
            event = parse(message)
        except ValueError as error:
            return str(error)
        late = event.at is not None and abs(time.time() - event.at) > _SLACK_SECONDS
        self._note(event.kind, event.text, f"at {_utc(event.at)}" if late and event.at is not None else "")
        return OK

    def _admit(self) -> bool:
        if self._loop.now - self._second >= 1.0:
            self._second = self._loop.now
            self._in_second = 0
        self._in_second += 1
        return self._in_second <= EVENTS_PER_SECOND

    def _discard(self, connection: socket.socket) -> None:
        timer = self._connections.pop(connection, None)
        if timer is not None:
            timer.cancel()
            self._loop.unwatch(connection.fileno())
            connection.close()


def parse(message: bytes) -> RootEvent:
    """Return the event of a message. Raises ValueError with the reason if it is not valid."""
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"the message is longer than {MAX_MESSAGE} bytes")
    try:
        content = json.loads(message.decode())
    except (ValueError, RecursionError):
        raise ValueError("the message is not JSON in UTF-8") from None
    if not isinstance(content, dict):
        raise ValueError("the message is not a JSON object")  # noqa: TRY004 - of the content, not of an argument
    names = sorted(kind.value for kind in BY_ROOT)
    kind = content.get("kind")
    if kind not in names:
        raise ValueError(f"kind is not one of {', '.join(names)}")
    text = content.get("text")
    if not isinstance(text, str) or not (text := printable(text)):
        raise ValueError("text is missing or empty")
    at = content.get("at")
    if at is None:
        return RootEvent(Kind(kind), text)
    # The comparison is false for NaN.
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < _LATEST:
        raise ValueError("at is not a time in Unix seconds")
    return RootEvent(Kind(kind), text, float(at))


def printable(text: str) -> str:
    """Return a text for one line of a terminal: `?` replaces control characters and unpaired surrogates."""
    return "".join(c if c.isprintable() else "?" for c in text.strip())


def send(runtime: Path, event: RootEvent, timeout: float) -> str:
    """Send an event to the service that runs, and return its reply; "" if it closed the connection.

    timeout: seconds for each step. Raises OSError if the service does not run or does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(runtime / NAME))
        except BlockingIOError:
            # unix(7): too many others wait to be accepted.
            return BUSY
        # The service may have replied and closed the connection before it got the message.
        with contextlib.suppress(BrokenPipeError):
            connection.send(event.message())
        for _ in range(2):
            # Linux reports the reset first, then gives out the reply.
            with contextlib.suppress(ConnectionResetError):
                return printable(connection.recv(_MAX_REPLY).decode(errors="replace"))
        return ""


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "it exists and is not a socket")
    path.unlink()


def _reply(connection: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):
        connection.send(text.encode()[:_MAX_REPLY])


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
