"""An Opta that counts the answers it never got: `python -m tests.integration.opta_ask`, run where it is.

    knock ADDRESS   connect, ask, hang up, and again
    hold ADDRESS    ask again and again on one connection

Each until its standard input is closed; then it prints one JSON object: how often it `asked`, and the `lost`
attempts, each with its reason.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from collections.abc import Callable

SECONDS = 5.0
_REQUEST = bytes.fromhex("0001 0000 0006 01 03 0000 0008")
_REPLY = bytes.fromhex("0001 0000 0013 01 03 10")
_PAUSE = 0.001


def connect(address: str) -> socket.socket:
    """Return a connection to the Modbus port."""
    connection = socket.create_connection((address, 502), timeout=SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: socket.socket) -> None:
    """Read the eight registers; raise OSError where no reply, or another one, comes."""
    connection.sendall(_REQUEST)
    reply = b""
    while len(reply) < len(_REPLY) + 16:
        more = connection.recv(260)
        if not more:
            raise ConnectionError(f"closed after {len(reply)} bytes of the reply")
        reply += more
    if not reply.startswith(_REPLY):
        raise ConnectionError(f"answered with {reply.hex()}")


def knock(address: str) -> Callable[[], None]:
    """Return what asks on a connection of its own each time."""

    def once() -> None:
        with connect(address) as connection:
            ask(connection)

    return once


def hold(address: str) -> Callable[[], None]:
    """Return what asks on one connection."""
    connection = connect(address)
    return lambda: ask(connection)


def main(mode: str, address: str) -> None:
    """Ask until the standard input is closed."""
    once = {"knock": knock, "hold": hold}[mode](address)
    once()
    # From here on, whatever is done to the server is done under its eyes.
    print("answered", flush=True)
    asked = 1
    lost: list[str] = []
    while not select.select([sys.stdin], [], [], _PAUSE)[0]:
        asked += 1
        try:
            once()
        except OSError as error:
            lost.append(f"attempt {asked}: {error}")
    print(json.dumps({"asked": asked, "lost": lost}))


if __name__ == "__main__":
    main(*sys.argv[1:])
