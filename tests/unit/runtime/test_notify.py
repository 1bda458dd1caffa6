"""What the environment asks for; the integration tests receive the datagrams."""

import pytest

from smart_meter.runtime.notify import Notifier


def test_without_a_socket_in_the_environment_nothing_is_sent() -> None:
    notifier = Notifier({})
    notifier.ready()
    notifier.status("x")
    notifier.alive()
    notifier.stopping()
    notifier.close()
    assert notifier.watchdog_interval is None


def test_an_address_of_another_kind_is_not_used() -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "vsock:2:1234"})
    notifier.ready()
    notifier.close()


def test_a_missing_socket_is_not_an_error() -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/nowhere/notify"})
    notifier.ready()
    notifier.status("x")
    notifier.close()


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "42"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "ten"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({"WATCHDOG_PID": "42"}, None),
    ],
)
def test_the_keep_alive_interval_is_half_the_watchdogs_time(
    environment: dict[str, str], interval: float | None
) -> None:
    assert Notifier(environment, pid=42).watchdog_interval == interval
