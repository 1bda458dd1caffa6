"""`python -m soak.crowd_clients`: addresses that each hold many connections, and open closed ones again.

A process of its own, so that the well-behaved clients beside it have an interpreter to themselves.
"""

from __future__ import annotations

import argparse
import json
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from tests.unit.wire import read

_OPENED_AT_ONCE = 10
"""New connections between two looks at the others, so that neither side only opens connections."""
_PAUSE = 0.005
_REQUEST = read(0, 8)
_EVERY = 0.3
"""Seconds between two requests over one connection: none is idle."""


@dataclass(slots=True)
class Totals:
    """The counts of all addresses."""

    opened: int = 0
    closed: int = 0
    """Connections that the server closed or reset."""
    replies: int = 0
    held: int = 0
    """The most connections that were open at once."""


class Crowd:
    """All connections of all addresses."""

    def __init__(self, target: tuple[str, int], sources: list[str], connections: int) -> None:
        self.totals = Totals()
        self._target = target
        self._missing = [source for _ in range(connections) for source in sources]
        self._selector = selectors.DefaultSelector()
        self._due: dict[socket.socket, float] = {}

    def run(self, seconds: float) -> None:
        """Hold the connections for so long; the crowd is complete as soon as the server lets it."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for _ in range(min(_OPENED_AT_ONCE, len(self._missing))):
                self._open(self._missing.pop(), now)
            for key, events in self._selector.select(_PAUSE):
                self._serve(key, events, now)
            for connection in list(self._overdue(now)):
                self._ask(connection, now)
            self.totals.held = max(self.totals.held, len(self._due))

    def _open(self, source: str, now: float) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((source, 0))
        connection.connect_ex(self._target)
        self._due[connection] = now
        self._selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, source)

    def _serve(self, key: selectors.SelectorKey, events: int, now: float) -> None:
        connection = key.fileobj
        assert isinstance(connection, socket.socket)  # noqa: S101 - shows mypy what was registered
        if events & selectors.EVENT_READ:
            try:
                data = connection.recv(65536)
            except OSError:
                data = b""
            if not data:
                self._close(connection, key.data)
                return
            self.totals.replies += 1
        elif events & selectors.EVENT_WRITE:
            self.totals.opened += 1
            self._selector.modify(connection, selectors.EVENT_READ, key.data)
            self._ask(connection, now)

    def _close(self, connection: socket.socket, source: str) -> None:
        self.totals.closed += 1
        self._selector.unregister(connection)
        del self._due[connection]
        connection.close()
        self._missing.insert(0, source)

    def _overdue(self, now: float) -> Iterator[socket.socket]:
        """Return the connections that are to send their next request."""
        return (connection for connection, due in self._due.items() if due < now - _EVERY)

    def _ask(self, connection: socket.socket, now: float) -> None:
        self._due[connection] = now
        try:
            connection.send(_REQUEST)
        except OSError:
            return  # Not connected yet, or closed: the selector reports it.


def main() -> None:
    """Print the totals as a line of JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, required=True, help="of each address")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--sources", nargs="+", required=True, help="the addresses")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd((options.host, options.port), options.sources, options.connections)
    crowd.run(options.seconds)
    print(json.dumps(asdict(crowd.totals)), flush=True)


if __name__ == "__main__":
    main()
