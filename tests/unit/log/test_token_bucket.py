import pytest

from smart_meter.log.token_bucket import Quota


def take(quota: Quota, events: int) -> int:
    """Tell what may be told of so many events; return how many were."""
    told = 0
    for _ in range(events):
        if quota.left >= 1.0:
            quota.left -= 1.0
            quota.told += 1
            told += 1
    return told


def test_ten_seconds_worth_may_be_told_at_once_and_then_the_rate() -> None:
    quota = Quota(2, now=0.0)
    assert take(quota, 100) == 20
    quota.refill(1.0)
    assert take(quota, 100) == 2
    quota.refill(1000.0)
    assert take(quota, 100) == 20


@pytest.mark.parametrize(("rate", "told"), [(0.05, 1), (0, 0)])
def test_a_low_rate_lets_a_line_through_and_none_at_all_none(rate: float, told: int) -> None:
    quota = Quota(rate, now=0.0)
    assert take(quota, 5) == told


def test_what_was_left_out_is_summed_up_once_in_ten_seconds() -> None:
    quota = Quota(1, now=0.0, total=5)
    take(quota, 30)
    assert quota.sum_up(35, 9.0) is None
    assert quota.sum_up(35, 10.0) == (20, 10.0)
    assert quota.sum_up(35, 20.0) is None
    assert quota.sum_up(36, 25.0, final=True) == (1, 5.0)
