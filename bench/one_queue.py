"""The concentrator with one queue for all clients: `python -m bench.one_queue run …`, for comparison only."""

from __future__ import annotations

import sys
from typing import Any

from smart_meter.cli.main import main
from smart_meter.net.event_loop import EventLoop
from smart_meter.runtime import service


class OneQueue(EventLoop):
    """The event loop without its priority: whatever is watched is watched like everything else."""

    def watch(self, descriptor: int, events: int, handler: Any, *, urgent: bool = False) -> None:
        """Watch a descriptor; `urgent` changes nothing."""
        super().watch(descriptor, events, handler)

    def forget(self, descriptor: int, *, urgent: bool = False) -> None:
        """Watch a descriptor no longer; `urgent` changes nothing."""
        super().forget(descriptor)


def run() -> int:
    """Run the command line with that event loop in the service's place."""
    # The service knows the event loop by this name.
    setattr(service, "EventLoop", OneQueue)  # noqa: B010 - it is not exported, and only replaced here
    return main()


if __name__ == "__main__":
    sys.exit(run())
