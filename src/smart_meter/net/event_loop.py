"""The event loop: descriptors, timers, and calls from other threads, on epoll.

asyncio would take 56 ms of the start and 6.6 MiB, a third of the memory: docs/decisions/0007.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR
"""The other end receives nothing any more."""
NO_MORE = select.EPOLLRDHUP | GONE
"""The other end sends nothing any more."""
EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
"""Report each change once: a handler that leaves something unread has to ask for `call_again`."""
BATCH = 32
"""Descriptors that are served in one pass, before timers and `call_again` have their turn."""

Action = Callable[[], None]
Handler = Callable[[int], None]
"""Takes epoll's event bits. They are a hint: the descriptor may turn out to have nothing."""


class Timer:
    """An action that is due at a time; `cancel` prevents it."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        """Do nothing when the time comes."""
        self.action = None


class EventLoop:
    """Calls handlers and timers until it is stopped; all in the thread that runs it."""

    def __init__(
        self, failed: Callable[[BaseException], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`failed` gets what a handler or a timer did not catch; `clock` returns monotonic seconds."""
        self._clock = clock
        self._failed = failed
        self.now = clock()
        """Monotonic seconds at which the present pass began."""
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._posted: deque[Action] = deque()
        self._again: deque[Handler] = deque()
        self._wake_end, self.wake_descriptor = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        """The second is for signal.set_wakeup_fd: a byte in it ends the wait."""
        self.watch(self._wake_end, READABLE, self._drain_wakeups)
        # Reentrant: a signal handler may post while its own thread holds the lock.
        self._open = threading.RLock()
        self._closed = False
        self._running = False
        self._yields = False

    def time(self) -> float:
        """Return `now`, for callers that take a clock."""
        return self.now

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call the handler whenever the descriptor is ready."""
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, events)

    def call_again(self, handler: Handler) -> None:
        """Call the handler, without an event, after others have had their turn."""
        self._again.append(handler)

    def unwatch(self, descriptor: int) -> None:
        """Watch it no longer; to be called before the descriptor is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, action: Action) -> Timer:
        """Act once, this many seconds after `now`."""
        timer = Timer(action)
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), timer))
        return timer

    def every(self, seconds: float, action: Action) -> Timer:
        """Act at this interval, without drift; missed times are not made up for."""
        timer = Timer(action)
        self._repeat(self.now + seconds, seconds, timer, action)
        return timer

    def post(self, action: Action) -> None:
        """Act in the loop's thread, soon; never, once the loop is closed. Any thread may call it."""
        self._posted.append(action)
        self.wake()

    def run_posted(self) -> None:
        """Run every posted action now. Only for the loop's own thread; also after the loop has stopped."""
        while self._posted:
            self._run_action(self._posted.popleft())

    def wake(self) -> None:
        """End the wait. Any thread may call it."""
        # Once the descriptor is closed, its number may be another file's.
        with self._open:
            if self._closed:
                return
            # A full pipe wakes just as well.
            with contextlib.suppress(BlockingIOError):
                os.write(self.wake_descriptor, b"\0")

    def yield_to_threads(self, on: bool) -> None:
        """Yield the CPU after each pass, or no longer.

        On a single CPU, other threads would otherwise get it in slices of milliseconds, or hardly at all.
        """
        self._yields = on

    def stop(self) -> None:
        """Let `run` return at the end of this pass."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        poll = self._epoll.poll
        handlers = self._handlers
        timers = self._timers
        again = self._again
        clock = self._clock
        while self._running:
            wait = 0.0 if again else timers[0][0] - clock() if timers else -1
            ready = poll(wait if wait > 0.0 or not timers else 0.0, BATCH)
            self.now = now = clock()
            if timers and timers[0][0] <= now:
                self._run_due()
            for descriptor, events in ready:
                handler = handlers.get(descriptor)
                if handler is not None:
                    try:
                        handler(events)
                    except Exception as error:  # as in _call, without the call
                        self._failed(error)
            if again:
                self._call_again(again)
            if self._yields:
                os.sched_yield()

    def close(self) -> None:
        """Close the loop's own descriptors. No handler and no timer is called after that."""
        with self._open:
            self._closed = True
            for descriptor in (self._wake_end, self.wake_descriptor):
                os.close(descriptor)
        self._epoll.close()

    def _call_again(self, again: deque[Handler]) -> None:
        for _ in range(min(BATCH, len(again))):
            self._call(again.popleft(), 0)

    def _call(self, handler: Handler, events: int) -> None:
        try:
            handler(events)
        except Exception as error:  # one client's error must not end the service of the others
            self._failed(error)

    def _run_due(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self.now:
            action = heapq.heappop(timers)[2].action
            if action is not None:
                self._run_action(action)

    def _repeat(self, due: float, seconds: float, timer: Timer, action: Action) -> None:
        def act_and_repeat() -> None:
            timer.action = None
            next_due = due + seconds
            self._repeat(next_due if next_due > self.now else self.now + seconds, seconds, timer, action)
            action()

        timer.action = act_and_repeat
        heapq.heappush(self._timers, (due, next(self._numbers), timer))

    def _drain_wakeups(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_end, 4096)
        self.run_posted()

    def _run_action(self, action: Action) -> None:
        try:
            action()
        except Exception as error:  # the other timers go on
            self._failed(error)
