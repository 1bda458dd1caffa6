"""The event loop on pipes: descriptors of this process only, so that no test has to wait."""

import os
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from smart_meter.net.event_loop import BATCH, EDGES, NO_MORE, READABLE, WRITABLE, EventLoop


@pytest.fixture
def failures() -> list[BaseException]:
    return []


@pytest.fixture
def loop(failures: list[BaseException]) -> Iterator[EventLoop]:
    made = EventLoop(failures.append)
    yield made
    made.close()


class Pipes:
    """Pipes that are closed at the end."""

    def __init__(self) -> None:
        self.ends: list[int] = []

    def full(self) -> int:
        """Return the reading end of one that has something to read."""
        reading, writing = os.pipe2(os.O_NONBLOCK)
        os.write(writing, b"x")
        self.ends += [reading, writing]
        return reading


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    for end in made.ends:
        os.close(end)


def test_timers_come_in_their_order_and_a_cancelled_one_does_not(loop: EventLoop) -> None:
    came: list[str] = []
    loop.after(0.002, lambda: came.append("second"))
    loop.after(0.001, lambda: came.append("first"))
    loop.after(0.0015, lambda: came.append("cancelled")).cancel()
    loop.after(0.003, loop.stop)
    loop.run()
    assert came == ["first", "second"]


def test_what_comes_every_so_often_comes_until_it_is_cancelled(loop: EventLoop) -> None:
    count = 0

    def come() -> None:
        nonlocal count
        count += 1
        if count == 3:
            timer.cancel()
            loop.after(0.003, loop.stop)

    timer = loop.every(0.001, come)
    loop.run()
    assert count == 3


def test_what_was_missed_is_not_made_up_for(failures: list[BaseException]) -> None:
    times = [100.0]
    loop = EventLoop(failures.append, lambda: times[-1])
    came: list[float] = []
    loop.every(1.0, lambda: came.append(loop.now))
    for now in (101.0, 107.5, 107.6, 108.4, 108.5):
        times.append(now)
        loop.after(0.0, loop.stop)
        loop.run()
    loop.close()
    assert came == [101.0, 107.5, 108.5]
    assert failures == []


def test_another_thread_ends_the_wait_with_something_to_do(loop: EventLoop) -> None:
    came: list[int] = []

    def come() -> None:
        came.append(threading.get_ident())
        loop.stop()

    thread = threading.Thread(target=loop.post, args=(come,))
    loop.after(0.0, thread.start)
    loop.run()
    thread.join()
    assert came == [threading.get_ident()]


def test_a_thousand_wakes_do_not_block(loop: EventLoop) -> None:
    for _ in range(100_000):
        loop.wake()
    loop.after(0.0, loop.stop)
    loop.run()


def test_an_uncaught_exception_is_reported_and_the_other_handlers_run(
    loop: EventLoop, failures: list[BaseException], pipes: Pipes
) -> None:
    def fail(_: int) -> None:
        raise ValueError("handler")

    def fail_too() -> None:
        raise ValueError("timer")

    loop.watch(pipes.full(), EDGES, fail)
    loop.after(0.0, fail_too)
    loop.post(fail_too)
    loop.call_again(fail)
    loop.after(0.001, loop.stop)
    loop.run()
    assert sorted(str(error) for error in failures) == ["handler", "handler", "timer", "timer"]


def test_in_a_crowd_every_descriptor_is_served_once_before_any_is_served_again(
    loop: EventLoop, pipes: Pipes
) -> None:
    served: list[int] = []
    crowd = [pipes.full() for _ in range(3 * BATCH)]

    def serve(descriptor: int, _: int) -> None:
        served.append(descriptor)
        if len(served) == 2 * len(crowd):
            loop.stop()

    for descriptor in crowd:
        # Level-triggered, each is ready in every pass.
        loop.watch(descriptor, READABLE, partial(serve, descriptor))
    loop.run()
    assert sorted(served[: len(crowd)]) == sorted(served[len(crowd) : 2 * len(crowd)]) == sorted(crowd)


def test_a_handler_that_is_forgotten_in_the_same_pass_is_not_called(loop: EventLoop, pipes: Pipes) -> None:
    served: list[int] = []
    ends = [pipes.full(), pipes.full()]

    def serve(number: int) -> None:
        served.append(number)
        loop.unwatch(ends[1 - number])

    for number in (0, 1):
        loop.watch(ends[number], EDGES, lambda _, number=number: serve(number))  # type: ignore[misc]  # bound early
    loop.after(0.001, loop.stop)
    loop.run()
    assert len(served) == 1


def test_an_edge_is_reported_once_and_its_bits_show_what_changed(loop: EventLoop, pipes: Pipes) -> None:
    reported: list[int] = []
    reading = pipes.full()
    loop.watch(reading, EDGES, reported.append)
    loop.watch(pipes.ends[1], EDGES, reported.append)
    loop.after(0.002, loop.stop)
    loop.run()
    assert sorted(reported) == [READABLE, WRITABLE]
    assert not READABLE & NO_MORE


def test_whoever_comes_again_lets_others_have_their_turn(loop: EventLoop) -> None:
    turns: list[str] = []

    def busy(_: int) -> None:
        turns.append("busy")
        if len(turns) < 6:
            loop.call_again(busy)
        else:
            loop.stop()

    def other(_: int) -> None:
        turns.append("other")
        if len(turns) < 6:
            loop.call_again(other)

    loop.call_again(busy)
    loop.call_again(other)
    loop.run()
    assert turns[:6] == ["busy", "other"] * 3


def test_what_another_thread_posts_to_a_closed_loop_is_dropped_and_touches_no_other_file(
    failures: list[BaseException],
) -> None:
    loop = EventLoop(failures.append)
    loop.close()
    # Its descriptors' numbers are free again: the next files get them.
    files = [end for _ in range(3) for end in os.pipe2(os.O_NONBLOCK)]
    try:
        assert loop.wake_descriptor in files
        posting = threading.Thread(target=loop.post, args=(loop.stop,))
        posting.start()
        posting.join()
        for reading in files[::2]:
            with pytest.raises(BlockingIOError):
                os.read(reading, 1)
    finally:
        for end in files:
            os.close(end)
    assert failures == []


def test_a_signal_that_comes_while_the_loop_is_woken_wakes_it_too(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[str] = []
    write = os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        if not came:
            # As Python calls a signal's handler: in the same thread, in the middle of what it does.
            came.append("signal")
            loop.post(lambda: came.append("posted by the signal"))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", interrupted)
    loop.post(lambda: came.append("posted"))
    loop.run_posted()
    assert sorted(came) == ["posted", "posted by the signal", "signal"]
