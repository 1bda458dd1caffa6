"""A way into another lab's network: connect there, and hand the connection over (ssh's ProxyUseFdpass).

python -m tests.door HOST PORT, run in that network's namespace. It stands for the jump host or VPN of
another site.
"""

from __future__ import annotations

import socket
import sys


def main(host: str, port: str) -> None:
    """Pass a connection to the process at the other end of the standard output."""
    with (
        socket.create_connection((host, int(port)), timeout=5) as connection,
        socket.socket(fileno=1) as asked,
    ):
        socket.send_fds(asked, [b"\0"], [connection.fileno()])


if __name__ == "__main__":
    main(*sys.argv[1:])
