from smart_meter.log.throttle import AddressThrottle, Suppressed


def test_events_within_the_interval_are_suppressed_and_counted() -> None:
    throttle = AddressThrottle(10)
    answers = [throttle.allow("refused", "a", now) for now in (0.0, 1.0, 9.9, 10.0, 11.0, 25.0, 40.0)]
    assert answers == [Suppressed(0), None, None, Suppressed(2), None, Suppressed(1), Suppressed(0)]


def test_each_address_has_its_own_lines_and_its_own_count() -> None:
    throttle = AddressThrottle(10)
    assert [throttle.allow("refused", "a", now) for now in (0.0, 1.0, 2.0)] == [Suppressed(0), None, None]
    assert throttle.allow("refused", "b", 3.0) == Suppressed(0)
    assert throttle.allow("other", "a", 3.0) == Suppressed(0)
    assert [throttle.allow("refused", "b", 13.0), throttle.allow("refused", "a", 13.0)] == [
        Suppressed(0),
        Suppressed(2),
    ]


def test_each_meter_has_its_own_lines() -> None:
    throttle = AddressThrottle(10)
    assert [throttle.allow("refused", "a", 0.0, meter) for meter in ("east", "west", "east")] == [
        Suppressed(0),
        Suppressed(0),
        None,
    ]


def test_a_crowd_of_addresses_gets_a_few_lines() -> None:
    throttle = AddressThrottle(10)
    crowd = [throttle.allow("refused", f"a{number}", number / 1000, "pv") for number in range(200)]
    assert crowd.count(Suppressed(0)) == 20
    assert throttle.allow("other", "a199", 0.2) == Suppressed(0)
    assert throttle.allow("refused", "a199", 2.5, "pv") == Suppressed(1)
    assert throttle.allow("refused", "a198", 2.5, "pv") is None
    lines = [throttle.allow("refused", f"b{number}", 3 + number / 10) for number in range(6000)]
    assert 300 <= sum(line is not None for line in lines) <= 320


def test_what_the_bounded_table_forgets_is_counted_and_said_once() -> None:
    throttle = AddressThrottle(10)
    for _ in range(5):
        throttle.allow("refused", "esp32", 0.0)
    for number in range(1000):
        throttle.allow("refused", f"a{number}", 0.0)
    assert len(throttle._seen) == 256
    # Of the 20 lines that there were, one was the ESP32's; 255 of the others are still known.
    assert throttle.allow("refused", "z", 100.0) == Suppressed(0, 4 + 1000 - 19 - 255)
    assert throttle.allow("refused", "y", 100.0) == Suppressed(0, 1)
    assert throttle.allow("other", "z", 100.0) == Suppressed(0)
