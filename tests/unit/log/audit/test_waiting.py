"""What waits to be written is merged and bounded, and written soon enough."""

import pytest

from smart_meter.log.audit.kinds import Kind
from smart_meter.log.audit.waiting import GATHER_SECONDS, SLOWEST_SECONDS, WAITING, Waiting


class Bench:
    def __init__(self) -> None:
        self.waiting = Waiting()
        self.now = 100.0

    def add(self, kind: Kind, text: str = "", client: str = "") -> bool:
        return self.waiting.add(kind, text, client, "", "", wall=1e9 + self.now, now=self.now)

    def wait(self) -> float:
        return self.waiting.seconds_to_wait(self.now, 1e6)


def test_at_most_a_thousand_events_wait_and_the_rest_is_counted() -> None:
    bench = Bench()
    for kind in Kind:
        for number in range(500):
            bench.add(kind, "x" * number)
    taken = bench.waiting.take()
    assert len(taken) == len(Kind) * (WAITING + 1)
    assert sum(event.events for event in taken) == len(Kind) * 500
    assert len(Kind) * WAITING <= 1000
    assert bench.waiting.take() == []


def test_a_flood_of_one_kind_leaves_room_for_another() -> None:
    bench = Bench()
    for number in range(5000):
        bench.add(Kind.REFUSED, "x" * (number % 200), f"c{number}")
    bench.add(Kind.STOP, "SIGTERM")
    assert any(event.kind == "stop" for event in bench.waiting.take())


@pytest.mark.parametrize("kind", list(Kind))
def test_what_no_client_can_cause_is_written_at_once(kind: Kind) -> None:
    bench = Bench()
    bench.add(kind)
    urgent = bench.wait() == 0
    assert bench.wait() == pytest.approx(0 if urgent else GATHER_SECONDS)
    caused = {
        "writer",
        "two-writers",
        "refused",
        "partial",
        "thinned",
        "fresh",
        "stale",
        "clock",
        "deleted",
        "lost",
    }
    assert urgent == (kind.value not in caused)


def test_a_row_that_grows_is_written_ever_less_often() -> None:
    bench = Bench()
    commits = 0
    for _ in range(24 * 3600):
        bench.add(Kind.REFUSED, "sent 1", "a")
        if bench.wait() == 0:
            bench.waiting.mark_written(bench.waiting.take(), bench.now)
            commits += 1
        bench.now += 1
    assert 24 * 3600 / SLOWEST_SECONDS <= commits <= 24 * 3600 / SLOWEST_SECONDS + 10
