import pytest

from smart_meter.log.token_bucket import TokenBucket


def spend(bucket: TokenBucket, events: int) -> int:
    """Log as many events as the bucket has tokens for; return how many were logged."""
    logged = 0
    for _ in range(events):
        if bucket.tokens >= 1.0:
            bucket.spend()
            logged += 1
    return logged


def test_it_allows_ten_seconds_worth_at_once_and_then_the_rate() -> None:
    bucket = TokenBucket(2, now=0.0)
    assert spend(bucket, 100) == 20
    bucket.refill(1.0)
    assert spend(bucket, 100) == 2
    bucket.refill(1000.0)
    assert spend(bucket, 100) == 20


@pytest.mark.parametrize(("rate", "logged"), [(0.05, 1), (0, 0)])
def test_a_low_rate_allows_one_event_and_the_rate_0_none(rate: float, logged: int) -> None:
    assert spend(TokenBucket(rate, now=0.0), 5) == logged


def test_suppressed_events_are_returned_once_in_ten_seconds() -> None:
    bucket = TokenBucket(1, now=0.0, total=5)
    spend(bucket, 30)
    assert bucket.flush_suppressed(35, 9.0) is None
    assert bucket.flush_suppressed(35, 10.0) == (20, 10.0)
    assert bucket.flush_suppressed(35, 20.0) is None
    assert bucket.flush_suppressed(36, 25.0, final=True) == (1, 5.0)
