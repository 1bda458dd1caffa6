"""Prints the journal's lines from a thread of its own: a full pipe or a slow disk never holds Modbus up.

What can't be printed is counted and left out: the telemetry goes on without its journal.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable

MAX_WAITING = 10_000
"""Lines that wait for a reader; some 2 MB."""


class Journal:
    """Takes lines without ever blocking or raising, and writes them to a file descriptor."""

    def __init__(self, descriptor: int, tell_lost: Callable[[int], str]) -> None:
        """`tell_lost` gives the line that says how many others were left out."""
        self._descriptor = descriptor
        self._tell_lost = tell_lost
        self._waiting: deque[str] = deque()
        self._lost = 0
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        # A daemon, since one that is blocked in a write can't be waited for at exit.
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def tell(self, line: str) -> None:
        """Print a line (or several, joined by newlines) soon, or count it as lost."""
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append(line)
        if not self._wake.is_set():
            self._idle.clear()
            self._wake.set()

    def flush(self, timeout: float) -> bool:
        """Wait until everything is printed, `timeout` seconds at most; return whether it is."""
        return self._idle.wait(timeout)

    def _write_all(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), 500))]
                lost, self._lost = self._lost, 0
                if lost:
                    batch.append(self._tell_lost(lost))
                # A surrogate can't come out of the configuration, yet a line must not end the journal.
                data = ("\n".join(batch) + "\n").encode(errors="replace")
                if not self._write(data):
                    self._lost += len(batch)
            if not self._wake.is_set():
                self._idle.set()

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                # Whoever started us may have made the descriptor non-blocking.
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except OSError:
                return False
        return True
