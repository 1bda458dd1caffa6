"""Where SSH is admitted from, and whether a change of rules would lock out the controller."""

from __future__ import annotations

from ipaddress import IPv4Interface
from typing import Any

import pytest
from roles.preflight.rules.admission import Zone, lockout, ssh_rules, zones_to

FIELD = Zone("wlan0", IPv4Interface("192.168.1.100/24"), gateway=False)
CONTROL = Zone("eth0", IPv4Interface("192.168.2.100/24"), gateway=False)
ROUTED = Zone("eth0", IPv4Interface("192.168.2.100/24"), gateway=True)
FROM = "192.168.2.1 51234 192.168.2.100 22"


@pytest.mark.parametrize(
    ("network", "isolated", "routed"),
    [
        pytest.param("192.168.2.0/24", ["eth0"], ["eth0"], id="a zone's"),
        pytest.param("192.168.2.7", ["eth0"], ["eth0"], id="a host of a zone"),
        pytest.param("192.168.1.0/25", ["wlan0"], ["wlan0"], id="a part of the other zone"),
        pytest.param("10.9.0.0/16", [], ["eth0"], id="behind the gateway, if there is one"),
        pytest.param("192.168.0.0/16", ["wlan0", "eth0"], ["wlan0", "eth0"], id="wider than both zones"),
        pytest.param(
            "192.168.1.0/23", ["wlan0"], ["wlan0", "eth0"], id="a zone and what is behind the gateway"
        ),
        pytest.param("2001:db8::/32", [], [], id="the zones have no IPv6"),
    ],
)
def test_a_network_is_admitted_where_its_hosts_arrive(
    network: str, isolated: list[str], routed: list[str]
) -> None:
    assert [zone.interface for zone in zones_to(network, [FIELD, CONTROL])] == isolated
    assert [zone.interface for zone in zones_to(network, [FIELD, ROUTED])] == routed


def test_a_rule_names_the_interface_and_the_pis_own_address() -> None:
    assert ssh_rules(["192.168.2.0/24", "10.9.0.0/16"], [FIELD, ROUTED], 2222) == [
        {
            "comment": f"SSH from {network}",
            "interface": "eth0",
            "from": network,
            "to": "192.168.2.100",
            "port": 2222,
        }
        for network in ("192.168.2.0/24", "10.9.0.0/16")
    ]


@pytest.mark.parametrize(
    ("connection", "networks", "extra", "wrong"),
    [
        pytest.param(FROM, ["192.168.2.0/24"], [], "", id="admitted"),
        pytest.param("", ["192.168.1.0/24"], [], "", id="not by SSH"),
        pytest.param("10.9.1.1 1 192.168.2.100 22", ["10.9.0.0/16"], [], "", id="through the gateway"),
        pytest.param(
            FROM,
            ["192.168.1.0/24", "10.9.0.0/16"],
            [],
            "firewall_ssh_from: 192.168.1.0/24, 10.9.0.0/16 does not contain 192.168.2.1, the address that "
            "this controller connects from; add its network there",
            id="another network",
        ),
        pytest.param(
            "192.168.2.1 1 192.168.2.100 2022",
            ["192.168.2.0/24"],
            [],
            "firewall_ssh_port: this controller connects to the Pi's port 2022, and 192.168.2.1 is admitted "
            "to 22",
            id="another port",
        ),
        pytest.param(
            "192.168.2.1 1 192.168.1.100 22",
            ["192.168.2.0/24"],
            [],
            "firewall_ssh_from: 192.168.2.1 is admitted to 192.168.2.100 on eth0, and this controller "
            "connects to 192.168.1.100; set ansible_host to an admitted address, or add a rule to "
            "firewall_extra_rules",
            id="to the address in the other zone",
        ),
        pytest.param(
            "172.16.0.5 1 172.16.0.9 22",
            ["192.168.2.0/24"],
            [{"comment": "Service", "from": "172.16.0.0/24", "port": 22, "interface": "eth1"}],
            "",
            id="by a rule of its own on another interface",
        ),
        pytest.param(
            FROM,
            ["192.168.1.0/24"],
            [{"comment": "Any", "from": "192.168.2.0/24", "port": 22, "proto": "udp"}],
            "firewall_ssh_from: 192.168.1.0/24 does not contain 192.168.2.1, the address that this "
            "controller connects from; add its network there",
            id="a rule for UDP admits no SSH",
        ),
        pytest.param(
            FROM,
            ["192.168.1.0/24"],
            [{"comment": "Modbus", "from": "192.168.2.0/24", "port": 502, "to": "192.168.2.100"}],
            "firewall_ssh_from: 192.168.1.0/24 does not contain 192.168.2.1, the address that this "
            "controller connects from; add its network there",
            id="a rule for Modbus admits no SSH",
        ),
        pytest.param(
            FROM,
            ["192.168.1.0/24"],
            [{"comment": "Wrong side", "from": "192.168.2.0/24", "port": 22, "interface": "wlan0"}],
            "firewall_ssh_from: 192.168.2.1 is admitted to any on wlan0, and this controller connects to "
            "192.168.2.100; set ansible_host to an admitted address, or add a rule to firewall_extra_rules",
            id="on the interface where it does not arrive",
        ),
        pytest.param(
            "fe80::1%eth0 1 fe80::2%eth0 22",
            ["192.168.2.0/24"],
            [{"comment": "Link", "from": "fe80::/10", "port": 22, "to": "fe80::2"}],
            "",
            id="by link-local IPv6",
        ),
    ],
)
def test_rules_that_would_lock_out_the_controller_are_named(
    connection: str, networks: list[str], extra: list[dict[str, Any]], wrong: str
) -> None:
    zones = [FIELD, ROUTED]
    assert lockout(connection, [*ssh_rules(networks, zones, 22), *extra], zones, networks) == wrong
