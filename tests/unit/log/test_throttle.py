from smart_meter.log.throttle import RateLimit


def test_the_first_is_let_through() -> None:
    assert RateLimit(10).allow("a", 0.0) == 0


def test_those_within_the_interval_are_held_back_and_counted() -> None:
    limit = RateLimit(10)
    assert [limit.allow("a", now) for now in (0.0, 1.0, 9.9, 10.0, 11.0, 25.0, 40.0)] == [
        0,
        None,
        None,
        2,
        None,
        1,
        0,
    ]


def test_kinds_do_not_hold_each_other_back() -> None:
    limit = RateLimit(10)
    assert [limit.allow("a", 0.0), limit.allow("b", 1.0), limit.allow("a", 2.0)] == [0, 0, None]
