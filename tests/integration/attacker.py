"""`python -m tests.integration.attacker KIND`: attacks from a hostile host in the field zone."""

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
"""Connections that the attack `hold` tries to keep open."""
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
    """Counts what an attack has done. It ends with the process."""

    def __init__(self, target: tuple[str, int], sources: list[str]) -> None:
        self.target = target
        self.done: dict[str, int] = {}
        self._sources = itertools.cycle(sources)
        self._lock = threading.Lock()

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self.done[what] = self.done.get(what, 0) + number

    def connect(self) -> socket.socket:
        """Return a connection from the next source address."""
        with self._lock:
            source = next(self._sources)
        connection = socket.create_connection(self.target, PATIENCE, (source, 0))
        self.count("connected")
        return connection

    def start_connecting(self) -> socket.socket:
        """Start a connection from the next source address, and return it without waiting."""
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((next(self._sources), 0))
        connection.connect_ex(self.target)
        self.count("connected")
        return connection

    def repeat(self, action: Callable[[], None]) -> None:
        """Repeat an action in several threads, even if the server closes the connections."""

        def loop() -> None:
            while True:
                with contextlib.suppress(OSError):
                    action()

        for _ in range(_THREADS):
            threading.Thread(target=loop, daemon=True).start()


def hold(attack: Attack) -> None:
    """Hold thousands of connections open, and replace each one that is closed."""
    for _ in _connections(attack, CROWD):
        pass


def slow(attack: Attack) -> None:
    """Send the longest request byte by byte over many connections; start again when one is closed."""
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
                # The last byte is never sent.
                if number < len(endless) - 1 and connection.send(endless[number : number + 1]):
                    sent[connection] += 1
                    attack.count("bytes")


def _connections(attack: Attack, number: int) -> Iterator[list[socket.socket]]:
    """Keep `number` connections open; yield the open ones about 100 times a second."""
    opened: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector:
        while True:
            for _ in range(min(_AT_ONCE, number - len(opened))):
                connection = attack.start_connecting()
                opened.add(connection)
                selector.register(connection, selectors.EVENT_READ)
            for key, _ in selector.select(0.01):
                connection = key.fileobj  # type: ignore[assignment]  # only sockets are registered
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
    """Send hundreds of requests at a time; every second connection never reads a reply."""
    numbers = itertools.count()

    def send_bursts() -> None:
        never_reads = next(numbers) % 2
        with attack.connect() as connection:
            burst = (read(0, 125) + read(0, 8) + write(0)) * 100
            while connection.send(burst):
                attack.count("bursts")
                if not never_reads:
                    connection.recv(1 << 20)

    attack.repeat(send_bursts)


def bad(attack: Attack) -> None:
    """Send invalid frames, each over a new connection."""
    frames = itertools.cycle(_BAD)

    def send_frame() -> None:
        with attack.connect() as connection:
            connection.sendall(next(frames))
            attack.count("frames")
            while connection.recv(4096):
                pass

    attack.repeat(send_frame)


KINDS: dict[str, Callable[[Attack], None]] = {"hold": hold, "slow": slow, "flood": flood, "bad": bad}


def main() -> int:
    """Print `ready`; when the standard input is closed, print the counts as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("host")
    parser.add_argument("sources", nargs="+")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attack = Attack((options.host, 502), options.sources)
    threading.Thread(target=KINDS[options.kind], args=(attack,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps(attack.done), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
