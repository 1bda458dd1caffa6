"""Addresses, reach and firewall: pure rules on plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from roles.preflight.rules.networks import (
    check_firewall,
    check_listen,
    check_networks,
    check_reach,
    is_host,
    is_host_name,
)
from roles.preflight.rules.problem import Problem, Values, show_key

GOOD: dict[str, Any] = {
    "network_field_interface": "wlan0",
    "network_field_address": "192.168.1.100/24",
    "network_field_gateway": "",
    "network_field_dns": [],
    "network_control_interface": "eth0",
    "network_control_address": "192.168.2.100/24",
    "network_control_gateway": "",
    "network_control_dns": [],
    "network_bootstrap_host": "",
    "ansible_host": "192.168.2.100",
    "firewall_ssh_from": ["192.168.2.0/24"],
    "firewall_ssh_port": 22,
    "firewall_modbus_port": 502,
    "firewall_extra_rules": [],
    "authbind_port": 502,
    "concentrator_port": 502,
}

Rule = Callable[[Values], Iterable[Problem]]


def problems_of(rule: Rule, **changes: Any) -> list[str]:
    return [f"{show_key(found.key)}: {found.message}" for found in rule({**GOOD, **changes})]


def extra(**changes: Any) -> list[dict[str, Any]]:
    return [{"comment": "Page", "from": "192.168.2.0/24", "port": 80, **changes}]


@pytest.mark.parametrize("rule", [check_networks, check_listen, check_reach, check_firewall])
def test_what_is_right_is_left_alone(rule: Rule) -> None:
    assert problems_of(rule) == []


@pytest.mark.parametrize("rule", [check_networks, check_listen, check_reach, check_firewall])
def test_what_could_not_be_templated_is_left_to_its_own_problem(rule: Rule) -> None:
    assert list(rule({})) == []


ADDRESS = "; give this Pi's own address with the prefix length, such as 192.168.1.100/24"


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        ("192.168.1.100", f'"192.168.1.100" has no prefix length{ADDRESS}'),
        ("192.168.1.300/24", f'"192.168.1.300/24" is not an IPv4 address{ADDRESS}'),
        ("fe80::1/64", f'"fe80::1/64" is not an IPv4 address{ADDRESS}'),
        ("", f'"" is not an IPv4 address{ADDRESS}'),
        (
            "192.168.1.100/255.255.255.0",
            '"192.168.1.100/255.255.255.0" has a netmask; write 192.168.1.100/24',
        ),
        ("192.168.1.0/24", f'"192.168.1.0/24" is the address of the network 192.168.1.0/24 itself{ADDRESS}'),
        ("192.168.1.255/24", f'"192.168.1.255/24" is the broadcast address of 192.168.1.0/24{ADDRESS}'),
        ("127.0.0.1/8", f'"127.0.0.1/8" is not the address of a host{ADDRESS}'),
        ("0.0.0.0/8", f'"0.0.0.0/8" is not the address of a host{ADDRESS}'),
        (
            "192.168.1.100/32",
            f'"192.168.1.100/32" has a prefix length without room for a neighbour (1 to 30){ADDRESS}',
        ),
    ],
)
def test_an_address_is_a_hosts_with_a_prefix_length(address: str, wrong: str) -> None:
    assert problems_of(check_networks, network_field_address=address) == [f"network_field_address: {wrong}"]


def test_the_zones_do_not_overlap() -> None:
    assert problems_of(check_networks, network_control_address="192.168.1.7/25") == [
        "network_field_address: 192.168.1.0/24 overlaps 192.168.1.0/25 of network_control_address; "
        "give each zone a network of its own"
    ]


def test_the_zones_have_interfaces_of_their_own() -> None:
    assert problems_of(check_networks, network_control_interface="wlan0") == [
        'network_control_interface: "wlan0" is network_field_interface already; give each zone its own'
    ]
    assert problems_of(check_networks, network_field_interface="wlan 0")[0].startswith(
        'network_field_interface: "wlan 0" is not an interface name'
    )


@pytest.mark.parametrize(
    ("gateway", "wrong"),
    [
        ("router", '"router" is not an IPv4 address'),
        ("192.168.9.1", "192.168.9.1 is not in the zone's network 192.168.1.0/24"),
        ("192.168.1.100", "192.168.1.100 is this Pi's own address"),
        ("192.168.1.255", "192.168.1.255 is the broadcast address of 192.168.1.0/24"),
    ],
)
def test_a_gateway_is_a_neighbour(gateway: str, wrong: str) -> None:
    [line] = problems_of(check_networks, network_field_gateway=gateway)
    assert line.startswith(f"network_field_gateway: {wrong}; give ")


def test_there_is_one_default_route() -> None:
    gateways = {"network_field_gateway": "192.168.1.1", "network_control_gateway": "192.168.2.1"}
    [line] = problems_of(check_networks, **gateways)
    assert line.startswith("network_control_gateway: is a second default route")


def test_each_name_server_is_an_address_of_another() -> None:
    lines = problems_of(check_networks, network_control_dns=["192.168.2.1", "dns.example", "192.168.2.100"])
    assert [line.split(";")[0] for line in lines] == [
        'network_control_dns[1]: "dns.example" is not an IPv4 address',
        "network_control_dns[2]: 192.168.2.100 is this Pi's own address, and it runs no name server",
    ]


@pytest.mark.parametrize("host", ["192.168.2.100", "pi-north", "pi.site.example", "10.1.2.3", "fd00::7"])
def test_a_pi_is_reached_by_name_or_address(host: str) -> None:
    assert problems_of(check_reach, ansible_host=host) == []


@pytest.mark.parametrize(
    "host", ["", "pi@north", "192.168.2.300", "224.0.0.1", "pi north", "10.1.2.3:22", "a_b"]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    for name in ("ansible_host", "network_bootstrap_host"):
        lines = problems_of(check_reach, **{name: host})
        expected = 0 if (name, host) == ("network_bootstrap_host", "") else 1
        assert len(lines) == expected, lines


def test_a_host_in_a_zone_is_the_address_that_the_pi_will_have() -> None:
    assert problems_of(check_reach, ansible_host="192.168.1.150") == [
        "ansible_host: 192.168.1.150 is in the field network, where this Pi will have 192.168.1.100; "
        "give that address here, and the one of a fresh Pi as network_bootstrap_host"
    ]
    assert problems_of(check_reach, network_bootstrap_host="192.168.2.150") == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("192.168.2.7/24", '"192.168.2.7/24" has host bits set or a netmask; write 192.168.2.0/24'),
        ("192.168.2.0/255.255.255.0", "has host bits set or a netmask; write 192.168.2.0/24"),
        ("192.168.2.7/32", '"192.168.2.7/32" is a single address; write 192.168.2.7'),
        ("0.0.0.0/0", '"0.0.0.0/0" matches every address; name the networks to admit'),
        ("office", '"office" is not a network; give one as 192.168.2.0/24'),
    ],
)
def test_ssh_comes_from_networks_as_ufw_writes_them(source: str, wrong: str) -> None:
    [line] = problems_of(check_firewall, firewall_ssh_from=["192.168.2.10", source])
    assert line.startswith("firewall_ssh_from[1]: ")
    assert line.endswith(wrong)


def test_somebody_may_log_in() -> None:
    [line] = problems_of(check_firewall, firewall_ssh_from=[])
    assert line == (
        "firewall_ssh_from: is empty: nobody could log in any more; give the controller's network"
    )


@pytest.mark.parametrize("name", ["firewall_modbus_port", "authbind_port"])
def test_all_agree_about_the_port(name: str) -> None:
    assert problems_of(check_firewall, **{name: 1502}) == [
        f"{name}: 1502 is not concentrator_port (502); leave it out to use the same port"
    ]


def test_the_port_of_ssh_is_a_port() -> None:
    assert problems_of(check_firewall, firewall_ssh_port=0) == [
        "firewall_ssh_port: 0 is not a port; give 1 to 65535"
    ]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"comment": "it's"}, "comment: \"it's\" can't be a rule's comment"),
        ({"comment": 'a "page"'}, 'comment: "a \\"page\\"" can\'t be a rule\'s comment'),
        ({"comment": "one\ntwo"}, "comment: \"one\\ntwo\" can't be a rule's comment"),
        ({"comment": " "}, "comment: \" \" can't be a rule's comment"),
        ({"from": "192.168.2.1/24"}, 'from: "192.168.2.1/24" has host bits set'),
        ({"to": "eth0"}, 'to: "eth0" is not an address'),
        ({"interface": "eth 0"}, 'interface: "eth 0" is not an interface name'),
        ({"port": 65536}, "port: 65536 is not a port"),
    ],
)
def test_an_extra_rule_is_one_that_ufw_can_hold(change: dict[str, Any], wrong: str) -> None:
    assert problems_of(check_firewall, firewall_extra_rules=extra()) == []
    [line] = problems_of(check_firewall, firewall_extra_rules=extra(**change))
    assert line.startswith(f"firewall_extra_rules[0].{wrong}")


def test_ssh_and_modbus_have_ports_of_their_own() -> None:
    assert problems_of(check_firewall, concentrator_port=22, firewall_modbus_port=22, authbind_port=22) == [
        "concentrator_port: 22 is firewall_ssh_port already; give a port of its own, usually 502"
    ]
    assert problems_of(check_firewall, firewall_ssh_port=502) == [
        "firewall_ssh_port: 502 is concentrator_port already; "
        "give the port of the Pi's SSH server, usually 22"
    ]


@pytest.mark.parametrize(
    ("changes", "name", "wrong", "fix"),
    [
        (
            {"ansible_port": 2222},
            "ansible_port",
            "2222 is not firewall_ssh_port (22)",
            "firewall_ssh_port: 2222",
        ),
        (
            {"ansible_port": "2222"},
            "ansible_port",
            "2222 is not firewall_ssh_port (22)",
            "firewall_ssh_port: 2222",
        ),
        (
            {"firewall_ssh_port": 2222},
            "firewall_ssh_port",
            "2222 is not the port that SSH connects to (22)",
            "ansible_port: 2222",
        ),
    ],
)
def test_the_firewall_does_not_close_the_port_that_ssh_uses(
    changes: dict[str, Any], name: str, wrong: str, fix: str
) -> None:
    assert problems_of(check_firewall, **changes) == [
        f"{name}: {wrong}, so the firewall would shut this controller out; set {fix}, too"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"ansible_port": 2222, "firewall_ssh_port": 2222},
        # check_connection reports it.
        {"ansible_port": "abc"},
        # A router at the site forwards this port.
        {"ansible_port": 2222, "ansible_host": "203.0.113.7"},
        {"ansible_port": 2222, "firewall_extra_rules": [{**extra()[0], "port": 2222}]},
    ],
)
def test_a_forwarded_or_admitted_port_may_be_another(changes: dict[str, Any]) -> None:
    assert problems_of(check_firewall, **changes) == []


SSH = {"comment": "Mine", "from": "192.168.2.0/24", "to": "192.168.2.100", "interface": "eth0", "port": 22}
MODBUS = {
    "comment": "Mine",
    "from": "192.168.1.0/24",
    "to": "192.168.1.100",
    "interface": "wlan0",
    "port": 502,
    "proto": "tcp",
}


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        (extra(comment="The same page")[0], "firewall_extra_rules[0]"),
        (extra(comment="The same page", proto="tcp")[0], "firewall_extra_rules[0]"),
        (extra()[0], "firewall_extra_rules[0]"),
        (SSH, "the role's rule for firewall_ssh_from[0]"),
        (MODBUS, "the role's rule for Modbus TCP from the field zone"),
    ],
)
def test_two_rules_do_not_differ_only_in_their_comments(rule: dict[str, Any], other: str) -> None:
    assert problems_of(check_firewall, firewall_extra_rules=[*extra(), rule]) == [
        f"firewall_extra_rules[1]: admits the same as {other}, "
        "and ufw keeps one rule with one comment; remove it"
    ]


@pytest.mark.parametrize(
    "change",
    [{"proto": "udp"}, {"interface": "eth0"}, {"to": "192.168.2.100"}, {"from": "192.168.3.7"}, {"port": 81}],
)
def test_rules_that_admit_something_else_pass(change: dict[str, Any]) -> None:
    assert problems_of(check_firewall, firewall_extra_rules=extra() + extra(**change)) == []


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.168.1.100", "192.168.2.100", "10.0.0.7", "wlan0", ""],  # noqa: S104 - not bound
)
def test_the_server_listens_on_an_address_of_the_pi(host: str) -> None:
    zones = [{"name": "office", "address": "10.0.0.7"}, "not a zone"]
    assert problems_of(check_listen, concentrator_host=host, concentrator_zones=zones) == []


@pytest.mark.parametrize(
    ("host", "line"),
    [
        (
            "192.168.2.101",
            "192.168.2.101 is not an address of this Pi (192.168.1.100, 192.168.2.100); give 0.0.0.0",
        ),
        ("127.0.0.1", "127.0.0.1 is reached only by programs on the Pi itself; give 0.0.0.0"),
        ("::1", "::1 is reached only by programs on the Pi itself; give ::"),
        ("fd00::7", "fd00::7 is not an address of this Pi (192.168.1.100, 192.168.2.100); give ::"),
    ],
)
def test_the_server_does_not_listen_elsewhere(host: str, line: str) -> None:
    assert problems_of(check_listen, concentrator_host=host) == [
        f"concentrator_host: {line} for all of its addresses, or leave it out"
    ]


def test_a_vlan_needs_a_profile_that_the_role_does_not_write() -> None:
    assert problems_of(check_networks, network_control_interface="eth0.10") == [
        'network_control_interface: "eth0.10" is a VLAN\'s, and the role network writes no profile of that '
        "type; give its parent (eth0), on a port without a tag"
    ]


@pytest.mark.parametrize("value", ["192.168.2.7", "fd00::7", "pi-north", "pi.example"])
def test_an_address_or_a_name_is_a_host(value: str) -> None:
    assert is_host(value)


@pytest.mark.parametrize(
    "value", ["", "-oProxyCommand=x", "192.168.2", "pi north", "pi@north", "fe80::1%-oX", "[fd00::7]", "a\nb"]
)
def test_what_ssh_would_read_as_something_else_is_not_a_host(value: str) -> None:
    assert not is_host(value)


@pytest.mark.parametrize("name", ["pi", "pi-1", "3com", "a.b-c.d", "x" * 63])
def test_host_names_after_rfc_1123(name: str) -> None:
    assert is_host_name(name)


@pytest.mark.parametrize("name", ["", "-pi", "pi-", "pi_1", "a..b", "x" * 64, "pi.", "pi\n", "ä"])
def test_no_host_names_after_rfc_1123(name: str) -> None:
    assert not is_host_name(name)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, True),
        ({"network_field_gateway": "192.168.1.1"}, False),
        ({"network_control_gateway": "192.168.2.1"}, False),
        # The address has its own problem.
        ({"network_field_address": "192.168.1.300/24"}, False),
    ],
)
def test_ssh_is_admitted_only_from_networks_that_can_arrive_in_a_zone(
    changes: dict[str, Any], wrong: bool
) -> None:
    found = problems_of(check_firewall, firewall_ssh_from=["192.168.2.0/24", "10.9.0.0/16"], **changes)
    expected = (
        """firewall_ssh_from[1]: "10.9.0.0/16" is in neither zone's network, and no zone has a gateway; """
        "add a rule to firewall_extra_rules with its interface, or give the gateway"
    )
    assert found == ([expected] if wrong else [])
