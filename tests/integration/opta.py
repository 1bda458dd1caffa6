"""An Opta that counts what it never got: `python -m tests.integration.opta`, run where it is.

    hold ADDRESS    read again and again on one connection
    knock ADDRESS   connect, read, hang up, and again

It prints `ready` after the first answer. When its standard input is closed, it prints one JSON object: how
often it `asked`, the `lost` attempts, each with its reason, and the times of all, in milliseconds. It is a
process of its own, so that nothing but the concentrator can hold it up.
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


def ask(connection: socket.socket, expected: bytes) -> None:
    """Read the eight registers; raise OSError where no reply comes, or one that begins otherwise."""
    connection.sendall(_REQUEST)
    reply = b""
    while len(reply) < len(_REPLY) + 16:
        more = connection.recv(260)
        if not more:
            raise ConnectionError(f"closed after {len(reply)} bytes of the reply")
        reply += more
    if not reply.startswith(expected):
        raise ConnectionError(f"answered with {reply.hex()}")


def knock(address: str, expected: bytes) -> Callable[[], None]:
    """Return what asks on a connection of its own each time."""

    def once() -> None:
        with connect(address) as connection:
            ask(connection, expected)

    return once


def hold(address: str, expected: bytes) -> Callable[[], None]:
    """Return what asks on one connection."""
    connection = connect(address)
    return lambda: ask(connection, expected)


def main() -> None:
    """Ask until the standard input is closed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mode", choices=("hold", "knock"))
    parser.add_argument("address")
    parser.add_argument("--rate", type=float, default=200, help="reads a second, at most")
    parser.add_argument("--reply", type=bytes.fromhex, default=_REPLY, help="what each has to begin with")
    wanted = parser.parse_args()
    once = {"knock": knock, "hold": hold}[wanted.mode](wanted.address, wanted.reply)
    once()
    # From here on, whatever is done to the server is done under its eyes.
    print("ready", flush=True)
    lost: list[str] = []
    times: list[float] = []
    due = time.monotonic()
    while True:
        due += 1 / wanted.rate
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            break
        try:
            once()
        except OSError as error:
            lost.append(f"attempt {len(times) + 2}: {error}")
        # The time counts from when it was due: what a hold-up makes late is late, too.
        times.append(1000 * (time.monotonic() - due))
    print(json.dumps({"asked": len(times) + 1, "lost": lost, **_summed_up(times)}))


def _summed_up(times: list[float]) -> dict[str, float]:
    ranked = sorted(times) or [0.0]
    return {
        "p50": round(ranked[len(ranked) // 2], 2),
        "p99": round(ranked[int(len(ranked) * 0.99)], 2),
        "max": round(ranked[-1], 2),
    }


if __name__ == "__main__":
    main()
