"""Runs commands side by side, each for a limited time and with a limited output."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress

SECONDS = 30.0
"""A Pi whose processor or card is busy needs more than ten."""
MAX_OUTPUT = 1024 * 1024
"""The list of packages of a desktop has some 200 KB."""
_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Command:
    """A command that runs while this program goes on, with its output so far."""

    def __init__(self, *arguments: str) -> None:
        """Start it. A command that is not installed has no status and no output."""
        self.arguments = arguments
        self.status: int | None = None
        self.content = b""
        self.failure = ""
        self.process: subprocess.Popen[bytes] | None = None
        path = f"{os.environ.get('PATH', '')}:{_FOLDERS}".lstrip(":")
        with suppress(OSError):
            self.process = subprocess.Popen(  # noqa: S603 - without a shell
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": path},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Return its output if it succeeded, otherwise an empty text."""
        return self.content.decode("utf-8", "replace") if self.status == 0 else ""

    @property
    def lines(self) -> list[str]:
        """Return the output's lines; only a newline ends one."""
        return [line for line in self.output.split("\n") if line]

    def stop(self, failure: str) -> None:
        """Kill it with its children; its output is not used."""
        self.failure = f"{' '.join(self.arguments[:4])}: {failure}"
        if self.process is not None:
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)


def collect(commands: list[Command], seconds: float = SECONDS) -> list[str]:
    """Read the output of commands until they end; return which of them took too long or printed too much."""
    until = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for command in commands:
            if command.process is not None and command.process.stdout is not None:
                selector.register(command.process.stdout, selectors.EVENT_READ, command)
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                command = key.data
                chunk = os.read(key.fd, 65536)
                command.content += chunk
                if len(command.content) > MAX_OUTPUT:
                    command.stop(f"it printed more than {MAX_OUTPUT // 1024} KiB")
                if not chunk or command.failure:
                    selector.unregister(key.fileobj)
        for key in list(selector.get_map().values()):
            key.data.stop(f"it took longer than {seconds:g} s")
    for command in commands:
        _end(command, until, seconds)
    return [command.failure for command in commands if command.failure]


def _end(command: Command, until: float, seconds: float) -> None:
    if command.process is None:
        return
    try:
        status = command.process.wait(max(0.0, until - time.monotonic()) + 0.1)
        command.status = None if command.failure else status
    except subprocess.TimeoutExpired:
        if not command.failure:
            # It has closed its output, and goes on.
            command.stop(f"it took longer than {seconds:g} s")
        with suppress(subprocess.TimeoutExpired):
            command.process.wait(1)
    if command.process.stdout is not None:
        command.process.stdout.close()
