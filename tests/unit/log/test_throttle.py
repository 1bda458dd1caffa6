from smart_meter.log.throttle import AddressThrottle, LogThrottle


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


def test_each_address_has_its_own_lines_and_its_own_count() -> None:
    throttle = AddressThrottle(10)
    assert [throttle.allow("refused", "a", now) for now in (0.0, 1.0, 2.0)] == [0, None, None]
    assert throttle.allow("refused", "b", 3.0) == 0
    assert throttle.allow("other", "a", 3.0) == 0
    assert [throttle.allow("refused", "b", 13.0), throttle.allow("refused", "a", 13.0)] == [0, 2]


def test_a_crowd_of_addresses_gets_a_few_lines_a_second() -> None:
    throttle = AddressThrottle(10)
    crowd = [throttle.allow("refused", f"a{number}", number / 1000) for number in range(1000)]
    assert crowd.count(0) == 5
    assert throttle.allow("refused", "a999", 1.5) == 1
    assert throttle.allow("refused", "a0", 1.5) == 0


def test_the_quietest_addresses_are_forgotten() -> None:
    throttle = AddressThrottle(10)
    for number in range(1000):
        throttle.allow("refused", f"a{number}", 0.0)
    assert len(throttle._seen) == 256
