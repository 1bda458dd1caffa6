"""systemd's notification protocol: datagrams to the socket in NOTIFY_SOCKET. See sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Reports the service's state to systemd; does nothing if NOTIFY_SOCKET is not set."""

    def __init__(self, environment: Mapping[str, str], pid: int | None = None) -> None:
        """pid: of the service; None: of this process."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address: str | None = None
        if address.startswith("@"):
            self._address = "\0" + address[1:]
        elif address.startswith("/"):
            self._address = address
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            # A service manager that does not read must not block the event loop.
            self._socket.setblocking(False)
        self._status = ""
        self.watchdog_interval = _watchdog_interval(environment, os.getpid() if pid is None else pid)
        """Seconds between two keep-alive messages, half of systemd's limit; None: systemd expects none."""

    def ready(self) -> None:
        """Report that clients can connect."""
        self._send("READY=1")

    def reloading(self, monotonic: float) -> None:
        """Report that a new configuration is being read; `ready` follows. monotonic: seconds."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic * 1e6)}")

    def stopping(self) -> None:
        """Report that the service is stopping."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Send the watchdog's keep-alive message."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`; it is sent only if it has changed."""
        if text != self._status and self._send(f"STATUS={text}"):
            self._status = text

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, state: str) -> bool:
        if self._socket is None or self._address is None:
            return False
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:
            # The manager is restarting or gone; the next message may reach it.
            return False
        return True


def _watchdog_interval(environment: Mapping[str, str], pid: int) -> float | None:
    # sd_watchdog_enabled(3): if WATCHDOG_PID is set, the variables are only for that process.
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000 / 2
