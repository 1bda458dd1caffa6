"""Runs commands inside a virtual machine by QEMU's guest agent: a serial line, past every network.

The protocol is JSON, an object a line: QEMU Guest Agent Protocol Reference, guest-sync-delimited, guest-exec
and guest-exec-status.
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
    """A connection with the agent of one machine; as a context manager it closes itself."""

    def __init__(self, path: Path, timeout: float) -> None:
        """path: QEMU's end of the line, a Unix socket. timeout: seconds to wait for each answer."""
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
        """Run a command as root to its end.

        timeout: seconds until subprocess.TimeoutExpired is raised; the command goes on then.
        Raises LabError if the agent does not answer, or can't start the command.
        """
        deadline = time.monotonic() + timeout
        started = self._ask(
            "guest-exec",
            path=command[0],
            arg=list(command[1:]),
            **{"input-data": base64.b64encode(stdin.encode()).decode(), "capture-output": True},
        )
        pause = 0.05
        while not (status := self._ask("guest-exec-status", pid=started["pid"]))["exited"]:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(list(command), timeout)
            time.sleep(pause)
            # The agent writes a line into the journal for each question.
            pause = min(2 * pause, 0.8)
        said = [
            base64.b64decode(status.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data")
        ]
        # A signal is told as subprocess tells it.
        code = -status["signal"] if "signal" in status else status["exitcode"]
        return subprocess.CompletedProcess(list(command), code, *said)

    def _ask(self, what: str, **arguments: Any) -> Any:
        try:
            self._send(what, arguments)
            answer = self._answer()
        except OSError as error:
            raise LabError(f"the machine's agent does not answer to {what}: {error}") from error
        if "error" in answer:
            raise LabError(f"the machine's agent refuses {what}: {answer['error']['desc']}")
        return answer["return"]

    def _synchronise(self) -> None:
        """Skip what the line still holds of an earlier connection's answers."""
        number = secrets.randbelow(2**31)
        self._send("guest-sync-delimited", {"id": number}, _SENTINEL)
        while True:
            while _SENTINEL not in self._received:
                self._receive()
            self._received = self._received.partition(_SENTINEL)[2]
            if self._answer() == {"return": number}:
                return

    def _send(self, what: str, arguments: dict[str, Any], before: bytes = b"") -> None:
        question = {"execute": what, "arguments": arguments}
        self._line.sendall(before + json.dumps(question).encode() + b"\n")

    def _answer(self) -> Any:
        while b"\n" not in self._received:
            self._receive()
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def _receive(self) -> None:
        received = self._line.recv(65536)
        if not received:
            raise ConnectionResetError("it closed the line")
        self._received += received
