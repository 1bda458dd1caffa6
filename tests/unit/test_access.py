import dataclasses
from ipaddress import IPv4Network

import pytest

from smart_meter.access import AccessControl, Client
from smart_meter.config import CONTROL_ZONE, FIELD_ZONE

ZONES = (FIELD_ZONE, CONTROL_ZONE)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.168.1.50", Client("ESP32", "ESP32")),
        ("192.168.1.255", Client("ESP32", "ESP32")),
        ("192.168.2.10", Client("OPTA", None)),
        ("::ffff:192.168.2.10", Client("OPTA", None)),
        ("127.0.0.1", Client("LOCALHOST", None)),
        ("127.8.9.10", Client("LOCALHOST", None)),
        ("::1", Client("LOCALHOST", None)),
        ("::ffff:127.0.0.1", Client("LOCALHOST", None)),
    ],
)
def test_the_network_of_a_client_decides(address: str, client: Client) -> None:
    assert AccessControl(ZONES).client(address) == client


@pytest.mark.parametrize(
    "address",
    ["192.168.0.255", "192.168.3.0", "10.0.0.1", "8.8.8.8", "fe80::1", "fe80::1%eth0", "::", "0.0.0.1"],
)
def test_anyone_else_is_a_stranger(address: str) -> None:
    assert AccessControl(ZONES).client(address) is None


def test_only_a_zone_that_may_write_may_write() -> None:
    control = AccessControl(ZONES)
    may_write = {
        a: c.may_write for a in ("192.168.1.5", "192.168.2.5", "127.0.0.1") if (c := control.client(a))
    }
    assert may_write == {"192.168.1.5": True, "192.168.2.5": False, "127.0.0.1": False}


def test_in_a_trial_this_machine_writes_as_the_writer_and_reads_as_the_reader() -> None:
    assert AccessControl(ZONES, trial=True).client("127.0.0.1") == Client("OPTA", "ESP32")


def test_in_a_trial_the_zones_are_as_ever() -> None:
    control = AccessControl(ZONES, trial=True)
    assert control.client("192.168.2.10") == Client("OPTA", None)
    assert control.client("10.0.0.1") is None


def test_in_a_trial_with_a_writing_zone_alone_this_machine_is_that_zone() -> None:
    assert AccessControl((FIELD_ZONE,), trial=True).client("::1") == Client("ESP32", "ESP32")


def test_a_zone_may_be_smaller_than_a_byte() -> None:
    small = dataclasses.replace(FIELD_ZONE, network=IPv4Network("192.168.1.64/28"))
    control = AccessControl((small,))
    found = [control.client(f"192.168.1.{host}") is not None for host in (63, 64, 79, 80)]
    assert found == [False, True, True, False]
