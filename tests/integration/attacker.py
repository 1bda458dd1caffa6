"""`python -m tests.integration.attacker KIND`: what a hostile host of the field can do, until SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tests.unit.wire import read, wire, write

PATIENCE = 5.0
CROWD = 2000
"""Connections that the crowd tries to hold at any time."""
SLOW = 100
_AT_ONCE = 200
_THREADS = 4
_SLOW_PAUSE = 0.05
_BAD = (
    wire("0001 0001 0006 01 03 0000 0008"),  # protocol identifier 1
    wire("0001 0000 0000 01 03 0000 0008"),  # length 0
    wire("0001 0000 ffff 01 03 0000 0008"),  # length 65535
    wire("4745 5420 2f20 4854 5450 2f31 2e31 0d0a 0d0a"),  # a web browser
)


class Attack:
    """Counts what was done; ends with the process."""

    def __init__(self, target: tuple[str, int], sources: list[str]) -> None:
        self.target = target
        self.done: dict[str, int] = {}
        self._sources = itertools.cycle(sources)
        self._lock = threading.Lock()

    def count(self, what: str, number: int = 1) -> None:
        """Count an act."""
        with self._lock:
            self.done[what] = self.done.get(what, 0) + number

    def connect(self) -> socket.socket:
        """Return a connection from the next address."""
        with self._lock:
            source = next(self._sources)
        connection = socket.create_connection(self.target, PATIENCE, (source, 0))
        self.count("connected")
        return connection

    def begin_to_connect(self) -> socket.socket:
        """Return a connection that is under way from the next address."""
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((next(self._sources), 0))
        connection.connect_ex(self.target)
        self.count("connected")
        return connection

    def each(self, act: Callable[[], None]) -> None:
        """Act in several threads, again and again, whatever the server does to the connections."""

        def again() -> None:
            while True:
                with contextlib.suppress(OSError):
                    act()

        for _ in range(_THREADS):
            threading.Thread(target=again, daemon=True).start()


def hold(attack: Attack) -> None:
    """Hold thousands of connections, and open a new one for each that is closed."""
    for _ in _connections(attack, CROWD):
        pass


def slow(attack: Attack) -> None:
    """Send the longest of requests a byte at a time over many connections, and begin anew when cut off."""
    endless = struct.pack(">HHHBB", 1, 0, 254, 1, 16) + bytes(252)
    sent: dict[socket.socket, int] = {}
    due = time.monotonic()
    for connections in _connections(attack, SLOW):
        if time.monotonic() < due:
            continue
        due += _SLOW_PAUSE
        sent = {connection: sent.get(connection, 0) for connection in connections}
        for connection, number in sent.items():
            with contextlib.suppress(OSError):
                # The last byte is kept back for ever.
                if number < len(endless) - 1 and connection.send(endless[number : number + 1]):
                    sent[connection] += 1
                    attack.count("bytes")


def _connections(attack: Attack, number: int) -> Iterator[list[socket.socket]]:
    """Keep so many connections open; give the open ones again and again, some 100 times a second."""
    opened: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector:
        while True:
            for _ in range(min(_AT_ONCE, number - len(opened))):
                connection = attack.begin_to_connect()
                opened.add(connection)
                selector.register(connection, selectors.EVENT_READ)
            for key, _ in selector.select(0.01):
                connection = key.fileobj  # type: ignore[assignment]  # sockets alone were registered
                try:
                    ended = not connection.recv(4096)
                except OSError:
                    ended = True
                if ended:
                    selector.unregister(connection)
                    connection.close()
                    opened.discard(connection)
                    attack.count("closed")
            yield list(opened)


def flood(attack: Attack) -> None:
    """Send requests as fast as they are answered, hundreds under way; or take no answer at all."""
    numbers = itertools.count()

    def act() -> None:
        deaf = next(numbers) % 2
        with attack.connect() as connection:
            burst = (read(0, 125) + read(0, 8) + write(0)) * 100
            while connection.send(burst):
                attack.count("bursts")
                if not deaf:
                    connection.recv(1 << 20)

    attack.each(act)


def bad(attack: Attack) -> None:
    """Send frames that are none, each over a connection of its own."""
    frames = itertools.cycle(_BAD)

    def act() -> None:
        with attack.connect() as connection:
            connection.sendall(next(frames))
            attack.count("frames")
            while connection.recv(4096):
                pass

    attack.each(act)


KINDS: dict[str, Callable[[Attack], None]] = {"hold": hold, "slow": slow, "flood": flood, "bad": bad}


def main() -> int:
    """Print `ready`, and when the standard input is closed what was done, as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("host")
    parser.add_argument("sources", nargs="+")
    asked = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attack = Attack((asked.host, 502), asked.sources)
    threading.Thread(target=KINDS[asked.kind], args=(attack,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps(attack.done), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
