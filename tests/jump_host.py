"""Connects to a host in another lab's network and passes the connection to ssh (ProxyUseFdpass).

Run `python -m tests.jump_host HOST PORT` in that network's namespace. It stands for the jump host or VPN of
another site.
"""

from __future__ import annotations

import socket
import sys


def main(host: str, port: str) -> None:
    """Connect, and pass the connection to the process at the other end of the standard output."""
    with (
        socket.create_connection((host, int(port)), timeout=5) as connection,
        socket.socket(fileno=1) as output,
    ):
        socket.send_fds(output, [b"\0"], [connection.fileno()])


if __name__ == "__main__":
    main(*sys.argv[1:])
