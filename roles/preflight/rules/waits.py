"""Which tasks a run has been waiting for, and when to show them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST = (5.0, 15.0, 30.0, 60.0)
"""Seconds after which a task is shown; later every LATER seconds."""
LATER = 60.0


@dataclass(slots=True)
class _Task:
    name: str
    since: float
    hosts: list[str] = field(default_factory=list)
    shown: int = 0

    def next(self) -> float:
        """Return when it is shown next."""
        extra = self.shown - len(FIRST) + 1
        return self.since + (FIRST[self.shown] if extra <= 0 else FIRST[-1] + extra * LATER)


class Waits:
    """The tasks that run now. The times are seconds of one clock."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    def start(self, host: str, key: str, name: str, now: float) -> None:
        """Take note that a host runs a task. key: the same for all hosts that run it."""
        self.end(host)
        self._tasks.setdefault(key, _Task(name, now)).hosts.append(host)

    def end(self, host: str) -> None:
        """Take note that a host has finished its task."""
        for key, task in list(self._tasks.items()):
            if host in task.hosts:
                task.hosts.remove(host)
            if not task.hosts:
                del self._tasks[key]

    def clear(self) -> None:
        """Forget all tasks: nothing runs."""
        self._tasks.clear()

    def due(self, now: float) -> list[str]:
        """Return a line for each task that is to be shown now."""
        lines = []
        for task in self._tasks.values():
            if now < task.next():
                continue
            while now >= task.next():
                task.shown += 1
            hosts = ", ".join(task.hosts[:5]) + (
                f" and {len(task.hosts) - 5} more" if len(task.hosts) > 5 else ""
            )
            lines.append(f"still running after {now - task.since:.0f} s: {task.name}: {hosts}")
        return lines
