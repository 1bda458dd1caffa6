"""The health in one word: fresh values first, then somebody who reads them."""

from __future__ import annotations

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.health import Health
from smart_meter.config import CONTROL_ZONE, FIELD_ZONE, Config
from tests.unit.wire import read, write

[METER] = Config().meters
LIMIT = METER.stale_after


class Pi:
    """A concentrator with a clock of its own, an ESP32 that writes and an Opta that reads."""

    def __init__(self, config: Config | None = None) -> None:
        self.now = 100.0
        self.concentrator = Concentrator(config or Config(), lambda _: None, lambda: self.now, lambda: 1.7e9)
        self.esp32 = self.concentrator.admit("192.168.1.50")
        self.opta = self.concentrator.admit("192.168.2.10")

    def write(self) -> None:
        assert self.esp32
        self.esp32.respond(write(0))
        self.concentrator.tick()

    def read(self) -> None:
        assert self.opta
        self.opta.respond(read(0, 8))
        self.concentrator.tick()

    def later(self, seconds: float) -> Health:
        self.now += seconds
        self.concentrator.tick()
        return self.concentrator.health()


def test_it_is_good_while_values_come_and_are_read() -> None:
    pi = Pi()
    pi.write()
    pi.read()

    assert pi.later(LIMIT - 1) is Health.GOOD


def test_before_the_first_sample_there_are_no_fresh_values() -> None:
    pi = Pi()
    pi.read()

    assert pi.later(1) is Health.STALE


def test_it_is_stale_as_soon_as_the_values_are_and_good_with_the_next_sample() -> None:
    pi = Pi()
    pi.write()
    pi.read()

    assert pi.later(LIMIT) is Health.STALE
    pi.read()
    pi.write()
    assert pi.later(1) is Health.GOOD


def test_one_stale_meter_of_two_is_enough() -> None:
    meters = (METER, METER._replace(name="load", unit_id=2))
    pi = Pi(Config(meters=meters))
    pi.write()
    pi.read()

    assert pi.later(1) is Health.STALE


def test_fresh_values_that_nobody_reads_are_unread() -> None:
    pi = Pi()
    pi.write()
    assert pi.later(1) is Health.UNREAD

    pi.read()
    assert pi.later(1) is Health.GOOD
    for _ in range(int(LIMIT)):
        pi.write()
        pi.later(1)
    assert pi.later(1) is Health.UNREAD


def test_the_field_s_own_reads_do_not_count() -> None:
    pi = Pi()
    pi.write()
    assert pi.esp32
    pi.esp32.respond(read(0, 8))

    assert pi.later(1) is Health.UNREAD


def test_without_a_zone_that_only_reads_fresh_values_are_good() -> None:
    pi = Pi(Config(zones=(FIELD_ZONE,)))
    pi.write()

    assert pi.later(1) is Health.GOOD


def test_a_meter_without_a_limit_stays_fresh_and_readers_have_a_minute() -> None:
    pi = Pi(Config(meters=(METER._replace(stale_after=0),)))
    pi.write()
    pi.read()

    assert pi.later(60) is Health.GOOD
    assert pi.later(1) is Health.UNREAD


def test_each_zone_that_only_reads_has_to_read() -> None:
    second = CONTROL_ZONE._replace(name="scada", peer="SCADA")
    pi = Pi(Config(zones=(FIELD_ZONE, CONTROL_ZONE, second)))
    pi.write()
    pi.read()

    assert pi.later(1) is Health.UNREAD
