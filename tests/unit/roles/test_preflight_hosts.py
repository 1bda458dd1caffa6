"""An address that was cached, and may be a Pi's invention, is checked before SSH gets it."""

from __future__ import annotations

import pytest
from roles.preflight.filter_plugins.hosts import FilterModule, as_host


@pytest.mark.parametrize(
    "host", ["192.168.2.100", "pi-north", "pi-north.example.org", "fe80::1", "2001:db8::7", "10.0.0.1", ""]
)
def test_a_name_or_an_address_is_used(host: str) -> None:
    assert FilterModule().filters() == {"as_host": as_host}
    assert as_host(host, "pi-north") == host


@pytest.mark.parametrize(
    "host",
    [
        "-oProxyCommand=touch /tmp/x",
        "-oProxyCommand",
        "pi@192.168.2.100",
        "192.168.2.100 -p 23",
        "192.168.2.100;id",
        "$(id)",
        "{{ lookup('pipe', 'id') }}",
        "pi_north\n",
        "fe80::1%$(id)",
        "a" * 300,
        7,
        ["192.168.2.100"],
        None,
    ],
)
def test_an_option_of_ssh_is_not_an_address(host: object) -> None:
    assert as_host(host, "pi-north") == ""
