"""`python -m soak.activate FD COMMAND...`: execute COMMAND with a listening socket, as systemd passes one.

See sd_listen_fds(3): the socket is descriptor 3, and LISTEN_PID is the process that it is meant for.
"""

from __future__ import annotations

import os
import sys

FIRST = 3
"""SD_LISTEN_FDS_START."""


def main() -> None:
    """Never return."""
    descriptor, command = int(sys.argv[1]), sys.argv[2:]
    os.dup2(descriptor, FIRST, inheritable=True)
    os.set_inheritable(FIRST, True)
    if descriptor != FIRST:
        os.close(descriptor)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
    os.execvp(command[0], command)  # noqa: S606 - executing COMMAND is its purpose


if __name__ == "__main__":
    main()
