"""Runs commands inside a virtual machine through QEMU's guest agent, over a serial line instead of a network.

The protocol is one JSON object per line. See the QEMU Guest Agent Protocol Reference: guest-sync-delimited,
guest-exec and guest-exec-status.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.virtual_pi.commands import LabError

_SENTINEL = b"\xff"


class Agent:
    """A connection to the agent of one machine; closed at the end of its context."""

    def __init__(self, path: Path, timeout: float) -> None:
        """path: QEMU's end of the line, a Unix socket. timeout: seconds to wait for each reply."""
        self._line = socket.socket(socket.AF_UNIX)
        self._received = b""
        try:
            self._line.settimeout(timeout)
            self._line.connect(str(path))
            self._synchronise()
        except OSError as error:
            self._line.close()
            raise LabError(f"the machine's agent does not answer: {error}") from error

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def run(
        self, command: Sequence[str], timeout: float, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root until it ends.

        timeout: seconds until subprocess.TimeoutExpired is raised; the command continues to run.
        Raises LabError if the agent does not answer, or can't start the command.
        """
        deadline = time.monotonic() + timeout
        started = self._request(
            "guest-exec",
            path=command[0],
            arg=list(command[1:]),
            **{"input-data": base64.b64encode(stdin.encode()).decode(), "capture-output": True},
        )
        pause = 0.05
        while not (status := self._request("guest-exec-status", pid=started["pid"]))["exited"]:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(list(command), timeout)
            time.sleep(pause)
            # The agent logs a line to the journal for each request.
            pause = min(2 * pause, 0.8)
        output = [
            base64.b64decode(status.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data")
        ]
        # A signal is a negative exit code, as in subprocess.
        code = -status["signal"] if "signal" in status else status["exitcode"]
        return subprocess.CompletedProcess(list(command), code, *output)

    def _request(self, command: str, **arguments: Any) -> Any:
        try:
            self._send(command, arguments)
            reply = self._reply()
        except OSError as error:
            raise LabError(f"the machine's agent does not reply to {command}: {error}") from error
        if "error" in reply:
            raise LabError(f"the machine's agent refuses {command}: {reply['error']['desc']}")
        return reply["return"]

    def _synchronise(self) -> None:
        """Skip replies to an earlier connection that are still on the line."""
        number = secrets.randbelow(2**31)
        self._send("guest-sync-delimited", {"id": number}, _SENTINEL)
        while True:
            while _SENTINEL not in self._received:
                self._receive()
            self._received = self._received.partition(_SENTINEL)[2]
            if self._reply() == {"return": number}:
                return

    def _send(self, command: str, arguments: dict[str, Any], prefix: bytes = b"") -> None:
        request = {"execute": command, "arguments": arguments}
        self._line.sendall(prefix + json.dumps(request).encode() + b"\n")

    def _reply(self) -> Any:
        while b"\n" not in self._received:
            self._receive()
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def _receive(self) -> None:
        received = self._line.recv(65536)
        if not received:
            raise ConnectionResetError("the agent closed the line")
        self._received += received
