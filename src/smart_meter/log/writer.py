"""Writes the log in its own thread, so that a full pipe or a slow disk never delays Modbus.

Lines that can't be written are dropped and counted.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

MAX_WAITING = 10_000
"""Lines that may wait to be written: about 2 MB."""
_BATCH = 500


class LogWriter:
    """Takes lines without ever blocking or raising, and writes them to a file descriptor."""

    def __init__(self, descriptor: int, format_lost: Callable[[int], str]) -> None:
        """format_lost: formats the line that reports how many lines were lost; called in the thread."""
        self._descriptor = descriptor
        self._format_lost = format_lost
        self._waiting: SimpleQueue[str | threading.Event] = SimpleQueue()
        # Only one thread changes each of these, so none needs a lock.
        self._dropped = 0
        self._unwritten = 0
        self._lost_reported = 0
        # A daemon: nothing can wait for it at exit if it is blocked in a write.
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def write(self, line: str) -> None:
        """Queue a line (or several, joined by newlines), or count it as lost. Any thread may call it."""
        if self._waiting.qsize() >= MAX_WAITING:
            self._dropped += 1
        else:
            self._waiting.put(line)

    def flush(self, timeout: float) -> bool:
        """Wait until all lines queued so far are written; return False after `timeout` seconds."""
        reached = threading.Event()
        self._waiting.put(reached)
        return reached.wait(timeout)

    def _write_all(self) -> None:
        while True:
            batch = self._next_batch()
            lines = [item for item in batch if isinstance(item, str)]
            lost = self._dropped + self._unwritten - self._lost_reported
            if lost:
                lines.append(self._format_lost(lost))
            # The configuration can't contain a surrogate, but no line may end this thread.
            if not lines or self._write_bytes(("\n".join(lines) + "\n").encode(errors="replace")):
                self._lost_reported += lost
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

    def _write_bytes(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                # The parent process may have made the descriptor non-blocking.
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except OSError:
                return False
        return True
