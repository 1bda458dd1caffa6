"""The address to listen on: configuration and command line accept and refuse the same ones."""

import argparse

import pytest

from smart_meter.cli.arguments import parse_ip_address
from smart_meter.config.listen_address import listen_fault

VALID = ["0.0.0.0", "192.168.1.100", "127.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0"]  # noqa: S104
NO_ADDRESS = ["", "pi", "192.168.1.300", "192.168.1.1/24", " 0.0.0.0", "fe80::1%é", "fe80::1%\x1b[31m"]
NO_HOST = ["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ff02::1%eth0"]


@pytest.mark.parametrize("text", VALID)
def test_an_address_of_a_host_is_accepted(text: str) -> None:
    assert listen_fault(text) == ""
    assert parse_ip_address(text) == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [(text, "is not an IP address") for text in NO_ADDRESS]
    + [(text, "is not the address of a host") for text in NO_HOST],
)
def test_anything_else_is_refused_in_the_same_words(text: str, fault: str) -> None:
    assert listen_fault(text) == fault
    with pytest.raises(argparse.ArgumentTypeError, match=f"{fault}; give 0.0.0.0"):
        parse_ip_address(text)
