"""systemd's notification protocol: datagrams to the socket in NOTIFY_SOCKET. See sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells systemd how the service fares; does nothing where nobody asked for it."""

    def __init__(self, environment: Mapping[str, str], pid: int | None = None) -> None:
        """`pid` is this process's own where it is not given."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address: str | None = None
        if address.startswith("@"):
            self._address = "\0" + address[1:]
        elif address.startswith("/"):
            self._address = address
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            # A service manager that does not read must not hold the event loop up.
            self._socket.setblocking(False)
        self._status = ""
        self.watchdog_interval = _watchdog_interval(environment, os.getpid() if pid is None else pid)
        """Seconds between two signs of life: half of what systemd waits for; None: it waits for none."""

    def ready(self) -> None:
        """The port is bound and clients can connect."""
        self._send("READY=1")

    def reloading(self, monotonic: float) -> None:
        """A new configuration is being read; `ready` follows. monotonic: seconds."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic * 1e6)}")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`; sent when it has changed."""
        if text != self._status and self._send(f"STATUS={text}"):
            self._status = text

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, state: str) -> bool:
        if self._socket is None or self._address is None:
            return False
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:
            # The manager restarts or is gone; the next message may reach it.
            return False
        return True


def _watchdog_interval(environment: Mapping[str, str], pid: int) -> float | None:
    # sd_watchdog_enabled(3): the variables count for the process in WATCHDOG_PID alone, where that is set.
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000 / 2
