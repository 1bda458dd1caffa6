from smart_meter.log.throttle import LogThrottle


def test_the_first_event_is_logged() -> None:
    assert LogThrottle(10).allow("a", 0.0) == 0


def test_events_within_the_interval_are_suppressed_and_counted() -> None:
    throttle = LogThrottle(10)
    assert [throttle.allow("a", now) for now in (0.0, 1.0, 9.9, 10.0, 11.0, 25.0, 40.0)] == [
        0,
        None,
        None,
        2,
        None,
        1,
        0,
    ]


def test_each_kind_has_its_own_interval() -> None:
    throttle = LogThrottle(10)
    assert [throttle.allow("a", 0.0), throttle.allow("b", 1.0), throttle.allow("a", 2.0)] == [0, 0, None]
