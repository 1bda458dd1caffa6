"""An Opta that counts missing replies: `python -m tests.integration.opta`, run in its network.

    hold ADDRESS        read repeatedly over one connection
    reconnect ADDRESS   connect, read and close, repeatedly

It prints `ready` after the first reply. When its standard input is closed, it prints a JSON object: the
number of `reads`, the `lost` ones with their reasons, and the response times in milliseconds. It is a
separate process, so that only the concentrator can delay it.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from collections.abc import Callable

PATIENCE = 5.0
_REQUEST = bytes.fromhex("0001 0000 0006 01 03 0000 0008")
_REPLY = bytes.fromhex("0001 0000 0013 01 03 10")


def connect(address: str) -> socket.socket:
    """Return a connection to the Modbus port."""
    connection = socket.create_connection((address, 502), timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read(connection: socket.socket, expected: bytes) -> None:
    """Read the eight registers. Raises OSError if there is no reply, or if it does not start as expected."""
    connection.sendall(_REQUEST)
    reply = b""
    while len(reply) < len(_REPLY) + 16:
        more = connection.recv(260)
        if not more:
            raise ConnectionError(f"closed after {len(reply)} bytes of the reply")
        reply += more
    if not reply.startswith(expected):
        raise ConnectionError(f"answered with {reply.hex()}")


def reconnect(address: str, expected: bytes) -> Callable[[], None]:
    """Return a function that reads over a new connection."""

    def once() -> None:
        with connect(address) as connection:
            read(connection, expected)

    return once


def hold(address: str, expected: bytes) -> Callable[[], None]:
    """Return a function that reads over the same connection each time."""
    connection = connect(address)
    return lambda: read(connection, expected)


def main() -> None:
    """Read until the standard input is closed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mode", choices=("hold", "reconnect"))
    parser.add_argument("address")
    parser.add_argument("--rate", type=float, default=200, help="maximum reads per second")
    parser.add_argument("--reply", type=bytes.fromhex, default=_REPLY, help="expected start of each reply")
    options = parser.parse_args()
    once = {"reconnect": reconnect, "hold": hold}[options.mode](options.address, options.reply)
    once()
    # From now on, the test may disturb the server.
    print("ready", flush=True)
    lost: list[str] = []
    times: list[float] = []
    due = time.monotonic()
    while True:
        due += 1 / options.rate
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            break
        try:
            once()
        except OSError as error:
            lost.append(f"attempt {len(times) + 2}: {error}")
        # Measured from when the read was due, so that a delay also counts for the reads after it.
        times.append(1000 * (time.monotonic() - due))
    print(json.dumps({"reads": len(times) + 1, "lost": lost, **_summary(times)}))


def _summary(times: list[float]) -> dict[str, float]:
    ranked = sorted(times) or [0.0]
    return {
        "p50": round(ranked[len(ranked) // 2], 2),
        "p99": round(ranked[int(len(ranked) * 0.99)], 2),
        "max": round(ranked[-1], 2),
    }


if __name__ == "__main__":
    main()
