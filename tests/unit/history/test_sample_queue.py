"""The queue between the event loop and the writer: every ticket is decided exactly once."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smart_meter.history import sample_queue
from smart_meter.history.sample_queue import BATCH, SampleQueue, Wakeup


def append(queue: SampleQueue, ticket: int) -> None:
    queue.samples.append((ticket, 0.0, None, 0, b"", 0))


class Queue(RuleBasedStateMachine):
    """Compares the queue with a simple model of where each sample is."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = SampleQueue()
        self.recorded = 0
        self.waits: list[int] = []
        self.taken: list[int] = []
        self.on_disk: set[int] = set()
        self.given_up: set[int] = set()

    @rule(count=st.integers(1, 30))
    def record(self, count: int) -> None:
        for _ in range(count):
            self.recorded += 1
            self.waits.append(self.recorded)
            append(self.queue, self.recorded)
        assert self.queue.next_ticket == self.recorded + 1

    @rule(most=st.integers(1, 20), before=st.none() | st.integers(0, 10))
    def take(self, most: int, before: int | None) -> None:
        limit = None if before is None else self.queue.head + before
        expected = [ticket for ticket in self.waits[:most] if limit is None or ticket < limit]
        assert [sample[0] for sample in self.queue.take(most, limit)] == expected
        self.waits = self.waits[len(expected) :]
        self.taken += expected

    @rule()
    def commit(self) -> None:
        self.queue.mark_committed()
        self.on_disk |= set(self.taken) - self.given_up
        self.taken.clear()

    @rule()
    def fail(self) -> None:
        undecided = {ticket for ticket in range(1, self.recorded + 1) if ticket > self.queue.done}
        assert self.queue.give_up() is bool(undecided)
        self.given_up |= undecided - self.on_disk

    @rule(count=st.integers(1, 5))
    def drop(self, count: int) -> None:
        lost = self.waits[:count]
        with self.queue._lock:
            self.queue._drop(len(lost))
        self.waits = self.waits[len(lost) :]
        self.given_up |= set(lost)

    @invariant()
    def every_ticket_has_the_expected_status(self) -> None:
        for ticket in range(1, self.recorded + 1):
            found = self.queue.is_stored(ticket)
            if found is None:
                assert ticket not in self.on_disk
            else:
                assert found is (ticket in self.on_disk)


TestQueue = Queue.TestCase


def test_the_samples_taken_at_a_time_are_bounded() -> None:
    queue = SampleQueue()
    for ticket in range(BATCH + 1):
        append(queue, ticket)
    assert len(queue.take(BATCH * 2, None)) == BATCH
    assert len(queue) == 1


def test_a_full_queue_loses_the_oldest_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_queue, "MAX_WAITING", 10)
    monkeypatch.setattr(sample_queue, "_DROPPED", 3)
    queue = SampleQueue()
    for ticket in range(1, 14):
        append(queue, ticket)
        queue.wake()
    assert queue.dropped == 6
    assert queue.take(1, None)[0][0] == 7
    queue.mark_committed()
    assert [queue.is_stored(ticket) for ticket in (6, 7, 8)] == [False, True, None]


@pytest.mark.parametrize(("registers", "limit"), [(16, 100_000), (250, 53_544), (35_270, 709), (2**30, 1)])
def test_what_waits_is_bounded_in_bytes(registers: int, limit: int) -> None:
    queue = SampleQueue()
    queue.expect(registers)
    assert queue.limit == limit
    assert limit == 1 or limit * (registers + sample_size()) < 1.1 * sample_queue.MAX_BYTES
    for ticket in range(1, 3 * min(limit, 1000)):
        append(queue, ticket)
        queue.wake()
        assert len(queue) <= limit


def sample_size() -> int:
    """Return the bytes that a sample without registers takes, with its place in a list."""
    sample = (2**40, 0.5, 1_600_000_000, 0, b"", 2**30)
    return sys.getsizeof(sample) + sum(map(sys.getsizeof, (0.5, 1_600_000_000, b"", 2**30))) + 16 + 8


def test_two_calls_before_the_wait_wake_the_writer_once() -> None:
    wakeup = Wakeup()
    wakeup.set()
    wakeup.set()
    wakeup.wait(1000)
    assert wakeup._lock.locked()
    wakeup.wait(-1)


@given(st.integers(0, 5), st.integers(0, 5))
def test_discarded_samples_are_counted_including_those_taken_before(taken: int, waits: int) -> None:
    queue = SampleQueue()
    for ticket in range(1, taken + waits + 1):
        append(queue, ticket)
    queue.take(taken, None)
    assert queue.discard(taken) == taken + waits
    assert queue.dropped == taken + waits
    assert [queue.is_stored(ticket) for ticket in range(1, taken + waits + 1)] == [False] * (taken + waits)
