"""Who a writer is."""

import pytest

from smart_meter.meters.source import Source


@pytest.mark.parametrize(
    ("address", "writer"),
    [
        ("192.168.1.50", "192.168.1.50"),
        ("::ffff:192.168.1.50", "192.168.1.50"),
        ("::ffff:c0a8:132", "192.168.1.50"),
        ("::1", "127.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("", ""),
    ],
)
def test_a_writer_is_its_ipv4_address_however_it_is_written(address: str, writer: str) -> None:
    assert Source(address).address == writer


def test_two_connections_of_an_address_are_two_sources() -> None:
    assert Source("192.168.1.50") != Source("192.168.1.50")
