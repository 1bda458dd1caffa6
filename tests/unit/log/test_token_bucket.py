import pytest

from smart_meter.log.token_bucket import FirstAfterSilence, TokenBucket
from tests.unit.meters.parts import chance


def spend(bucket: TokenBucket | FirstAfterSilence, events: int) -> int:
    """Log as many events as the bucket has tokens for; return how many were logged."""
    logged = 0
    for _ in range(events):
        if bucket.tokens >= 1.0:
            bucket.spend()
            logged += 1
    return logged


def test_it_allows_two_seconds_worth_at_once_and_then_the_rate() -> None:
    bucket = TokenBucket(3, now=0.0)
    assert spend(bucket, 100) == 6
    bucket.refill(1.0)
    assert spend(bucket, 100) == 3
    bucket.refill(1000.0)
    assert spend(bucket, 100) == 6


def test_a_sample_a_second_has_its_line_however_late_a_refill_is() -> None:
    bucket = TokenBucket(1, now=0.0)
    late = chance(1)
    for second in range(1, 10_000):
        bucket.refill(second + late.uniform(-0.2, 0.2))
        assert spend(bucket, 1) == 1


@pytest.mark.parametrize(("rate", "logged"), [(0.05, 1), (0, 0)])
def test_a_low_rate_allows_one_event_and_the_rate_0_none(rate: float, logged: int) -> None:
    assert spend(TokenBucket(rate, now=0.0), 5) == logged


def test_suppressed_events_are_returned_once_in_a_minute() -> None:
    for bucket, logged in ((TokenBucket(1, now=0.0, total=5), 2), (FirstAfterSilence(now=0.0, total=5), 1)):
        assert spend(bucket, 30) == logged
        assert bucket.flush_suppressed(35, 59.0) is None
        assert bucket.flush_suppressed(35, 60.0) == (30 - logged, 60.0)
        assert bucket.flush_suppressed(35, 120.0) is None
        assert bucket.flush_suppressed(36, 125.0, final=True) == (1, 5.0)


def test_the_first_read_has_a_line_and_the_first_after_a_minute_of_silence() -> None:
    bucket = FirstAfterSilence(now=0.0)
    total = 0
    for second in range(1, 200):
        total += 10
        assert spend(bucket, 10) == (second == 1)
        bucket.refill(total, float(second))
    for second in range(200, 259):
        bucket.refill(total, float(second))
        assert bucket.tokens == 0
    bucket.refill(total, 259.0)
    assert spend(bucket, 10) == 1


def test_reads_have_no_line_of_their_own_where_there_are_only_sums() -> None:
    bucket = FirstAfterSilence(now=0.0, lines=False)
    bucket.refill(0, 100.0)
    assert spend(bucket, 1) == 0
