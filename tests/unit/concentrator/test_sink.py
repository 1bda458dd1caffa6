"""How a client is stored."""

import pytest

from smart_meter.concentrator.sink import client_number


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("1.2.3.4", 0x01020304),
        ("127.255.255.255", 2**31 - 1),
        ("128.0.0.0", -(2**31)),
        ("192.168.1.50", 0xC0A80132 - 2**32),
        ("255.255.255.255", -1),
        ("::ffff:192.168.1.50", 0xC0A80132 - 2**32),
        ("::1", 0x7F000001),
        ("fe80::1", 0),
        ("fe80::1%eth0", 0),
        ("", 0),
        ("no address", 0),
    ],
)
def test_a_client_is_its_ipv4_address_as_a_signed_integer(address: str, number: int) -> None:
    assert client_number(address) == number
