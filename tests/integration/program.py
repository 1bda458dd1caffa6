"""The real program as a separate process: `python -m smart_meter ...`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE = 20.0
"""Seconds to wait for what must happen. It may be long, since a passing test does not wait for it."""
SOURCE = Path(__file__).parents[2] / "src"
COMMAND = (sys.executable, "-m", "smart_meter")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment that finds the program, without variables of the caller that would affect it."""
    foreign = ("NOTIFY_", "WATCHDOG_", "PYTHON")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return {**inherited, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}


def run(*arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run a sub-command until it ends."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(),
        check=False,
    )


class Program:
    """A running sub-command. Its output goes to files, so that it never waits for a reader."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        prefix: Sequence[str] = (),
        extra: Mapping[str, str] | None = None,
        stdout: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        number = len(list(folder.glob("out.*")))
        self.out_path = folder / f"out.{number}"
        self.err_path = folder / f"err.{number}"
        with self.out_path.open("wb") as out, self.err_path.open("wb") as err:
            self.process = subprocess.Popen(
                [*prefix, *COMMAND, *arguments],
                stdout=out if stdout is None else stdout,
                stderr=err,
                env=environment(extra),
                pass_fds=pass_fds,
            )

    @property
    def out(self) -> str:
        """The output so far."""
        return self.out_path.read_text()

    @property
    def err(self) -> str:
        """The output to stderr so far."""
        return self.err_path.read_text()

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait until the output matches a pattern `count` times; return the last match."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            matches = list(re.finditer(pattern, self.out, re.MULTILINE))
            if len(matches) >= count:
                return matches[count - 1]
            if self.process.poll() is not None and self.process.returncode != 0:
                break
            time.sleep(0.01)
        raise AssertionError(f"no {pattern!r} within {PATIENCE} s in:\n{self.out}\nstderr:\n{self.err}")

    def port(self) -> int:
        """Return the port, once the program listens on it."""
        return int(self.wait_for(r"^Starting Modbus TCP server on \S+:(\d+)\.\.\.$")[1])

    def connect(self) -> Connection:
        """Return a connection to the program."""
        return Connection(self.port())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit code and how many seconds it took to exit."""
        started = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(PATIENCE), time.monotonic() - started

    def kill(self) -> None:
        """Kill the program, if it is still running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Connection:
    """A client that sends and receives raw bytes."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str | None = None) -> None:
        """source: the source address; None: chosen by the kernel."""
        self._reset = False
        try:
            self.socket = socket.create_connection((host, port), PATIENCE, (source, 0) if source else None)
        except ConnectionResetError:
            # The server accepted it, and was quicker to reset it than connect() to return.
            self.socket = socket.socket()
            self._reset = True
        else:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        self.socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Return exactly `size` bytes, or fewer if the connection ends before."""
        data = b""
        while len(data) < size and (part := self.socket.recv(size - len(data))):
            data += part
        return data

    def ask(self, request: bytes) -> bytes:
        """Return the whole reply to one request."""
        self.send(request)
        head = self.receive(6)
        return head + self.receive(int.from_bytes(head[4:6]))

    def is_closed(self) -> bool:
        """Wait for the next byte; return whether the connection was closed instead."""
        try:
            return self._reset or self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
