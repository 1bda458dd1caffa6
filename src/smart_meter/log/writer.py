"""Prints the journal's lines from a thread of its own: a full pipe or a slow disk never holds Modbus up.

What can't be printed is counted and left out: the telemetry goes on without its journal.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

MAX_WAITING = 10_000
"""Lines that wait for a reader; some 2 MB."""
_BATCH = 500


class Journal:
    """Takes lines without ever blocking or raising, and writes them to a file descriptor."""

    def __init__(self, descriptor: int, tell_lost: Callable[[int], str]) -> None:
        """`tell_lost` gives the line that says how many others were left out."""
        self._descriptor = descriptor
        self._tell_lost = tell_lost
        self._waiting: SimpleQueue[str | threading.Event] = SimpleQueue()
        # Each of the three is changed by one thread alone, so none needs a lock.
        self._refused = 0
        self._unwritten = 0
        self._lost_told = 0
        # A daemon, since one that is blocked in a write can't be waited for at exit.
        threading.Thread(target=self._write_all, name="journal", daemon=True).start()

    def tell(self, line: str) -> None:
        """Print a line (or several, joined by newlines) soon, or count it as lost."""
        if self._waiting.qsize() >= MAX_WAITING:
            self._refused += 1
        else:
            self._waiting.put(line)

    def flush(self, timeout: float) -> bool:
        """Wait until what was told before is printed, `timeout` seconds at most; return whether it is."""
        reached = threading.Event()
        self._waiting.put(reached)
        return reached.wait(timeout)

    def _write_all(self) -> None:
        while True:
            batch = self._next_batch()
            lines = [item for item in batch if isinstance(item, str)]
            lost = self._refused + self._unwritten - self._lost_told
            if lost:
                lines.append(self._tell_lost(lost))
            # A surrogate can't come out of the configuration, yet no line may end this thread.
            if not lines or self._write(("\n".join(lines) + "\n").encode(errors="replace")):
                self._lost_told += lost
            else:
                self._unwritten += len(lines) - bool(lost)
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()

    def _next_batch(self) -> list[str | threading.Event]:
        batch = [self._waiting.get()]
        while len(batch) < _BATCH:
            try:
                batch.append(self._waiting.get_nowait())
            except Empty:
                break
        return batch

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
