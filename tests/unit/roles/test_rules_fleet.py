"""Pis compared with each other."""

from __future__ import annotations

from typing import Any

import pytest
from roles.preflight.rules.fleet import IDENTITY, Identity, compare, identify

SITE = "; give each Pi of a site its own, or set preflight_site if they are at different sites"


def pi(name: str, number: int, **changes: Any) -> Identity:
    values = {
        "network_field_address": f"192.168.1.{number}/24",
        "network_control_address": f"192.168.2.{number}/24",
        "ansible_host": f"192.168.2.{number}",
        "appliance_hostname": name,
        "preflight_site": "",
        **changes,
    }
    return identify(name, values, dict.fromkeys(IDENTITY, f"{name}.yml"))


def problems_of(*pis: Identity, in_this_run: list[str] | None = None) -> list[str]:
    names = [pi.name for pi in pis] if in_this_run is None else in_this_run
    return [f"{name}: {found.variable}: {found.message}" for name, found in compare(pis, names)]


def test_pis_with_their_own_addresses_pass() -> None:
    assert problems_of(pi("a", 1), pi("b", 2)) == []


def test_a_shared_field_address_is_reported_for_the_later_one() -> None:
    assert problems_of(pi("a", 1), pi("b", 2, network_field_address="192.168.1.1/24")) == [
        f"b: network_field_address: 192.168.1.1 of b is network_field_address of a already (a.yml){SITE}"
    ]


def test_the_prefix_length_makes_no_other_address() -> None:
    assert len(problems_of(pi("a", 1), pi("b", 2, network_field_address="192.168.1.1/25"))) == 1


def test_a_field_address_may_not_be_anothers_control_address() -> None:
    assert problems_of(pi("a", 1), pi("b", 2, network_field_address="192.168.2.1/24")) == [
        f"b: network_field_address: 192.168.2.1 of b is network_control_address of a already (a.yml){SITE}"
    ]


def test_a_copied_address_is_reported_once_though_ansible_host_follows_it() -> None:
    control = {"network_control_address": "192.168.2.1/24", "ansible_host": "192.168.2.1"}
    assert [line.split(":")[1] for line in problems_of(pi("a", 1), pi("b", 2, **control))] == [
        " network_control_address"
    ]


def test_a_whole_site_on_the_defaults_is_a_line_a_pi_and_address() -> None:
    same = {"network_field_address": "192.168.1.9/24", "network_control_address": "192.168.2.9/24"}
    assert len(problems_of(*(pi(f"p{n}", n, **same) for n in range(1, 6)))) == 2 * 4


def test_host_names_are_compared_without_case() -> None:
    assert problems_of(pi("a", 1, appliance_hostname="Meter"), pi("b", 2, appliance_hostname="meter")) == [
        f"b: appliance_hostname: meter of b is appliance_hostname of a already (a.yml){SITE}"
    ]


def test_other_sites_may_have_the_same_addresses_and_names() -> None:
    far = {"ansible_host": "far.example", "appliance_hostname": "a", "preflight_site": "south"}
    assert problems_of(pi("a", 1), pi("b", 1, **far)) == []


def test_no_two_sites_are_reached_at_one_address_without_a_jump_host() -> None:
    assert problems_of(pi("a", 1), pi("b", 1, preflight_site="south")) == [
        "b: ansible_host: 192.168.2.1 of b is ansible_host of a already (a.yml); give each site a "
        "preflight_jump_host of its own, or each Pi an ansible_host that leads to it"
    ]


def test_a_router_leads_to_each_pi_by_a_port_of_its_own() -> None:
    def forwarded(name: str, number: int, port: int) -> Identity:
        return pi(name, number, ansible_host="router.example", ansible_port=port)

    assert problems_of(forwarded("a", 1, 2201), forwarded("b", 2, 2202)) == []
    assert problems_of(forwarded("a", 1, 2201), forwarded("b", 2, 2201)) == [
        "b: ansible_host: router.example port 2201 of b is ansible_host of a already (a.yml); "
        "give each Pi its own"
    ]
    assert problems_of(pi("a", 1, ansible_port=22), pi("b", 1, preflight_site="south")) != []


def test_two_jump_hosts_lead_to_two_pis() -> None:
    def behind(gate: str, name: str, **site: str) -> Identity:
        arguments = f"-o ProxyJump={gate} -o HostKeyAlias={name}"
        return pi(name, 1, ansible_ssh_common_args=arguments, **site)

    assert problems_of(behind("gate-1", "a"), behind("gate-2", "b", preflight_site="south")) == []
    assert len(problems_of(behind("gate-1", "a"), behind("gate-1", "b", preflight_site="south"))) == 1


def test_a_host_is_the_same_in_any_spelling() -> None:
    one, other = pi("a", 1, ansible_host="Pi.Example."), pi("b", 2, ansible_host="pi.example")
    assert len(problems_of(one, other)) == 1


def test_what_is_unknown_is_not_compared() -> None:
    empty = dict.fromkeys(("network_field_address", "network_control_address", "ansible_host"), None)
    assert problems_of(pi("a", 1, **empty), pi("b", 2, **empty)) == []


def test_only_pairs_with_a_pi_of_this_run_count() -> None:
    pis = [pi("a", 1), pi("b", 2, network_field_address="192.168.1.1/24"), pi("c", 3)]
    assert problems_of(*pis, in_this_run=["c"]) == []
    assert len(problems_of(*pis, in_this_run=["a"])) == 1
    assert len(problems_of(*pis, in_this_run=["b"])) == 1


def test_an_identity_survives_as_a_result() -> None:
    assert Identity(**pi("a", 1).as_result()) == pi("a", 1)


@pytest.mark.parametrize(
    "hop", ["192.168.2.1", "a", "pi@192.168.2.1:22", "gate.example,192.168.2.1", "A.local"]
)
def test_a_pi_that_is_the_jump_host_of_another_has_to_forward(hop: str) -> None:
    gate = pi("a", 1, ansible_host="a.local" if hop == "A.local" else "192.168.2.1")
    behind = pi("b", 2, preflight_jump_host=hop)

    assert problems_of(gate, behind) == [
        f"a: appliance_ssh_forwarding: b is reached through a (its preflight_jump_host is {hop}), "
        "whose sshd would forward nothing; set appliance_ssh_forwarding: true for a"
    ]
    assert problems_of(gate, behind, in_this_run=["c"]) == []


@pytest.mark.parametrize(
    "changes",
    [{"appliance_ssh_forwarding": True}, {"appliance_ssh_key_only": False}, {"preflight_site": "far"}],
)
def test_a_jump_host_that_forwards_passes(changes: dict[str, Any]) -> None:
    gate = pi("a", 1, **{"appliance_ssh_key_only": True, **changes})
    assert problems_of(gate, pi("b", 2, preflight_jump_host="192.168.2.1")) == []


def test_a_jump_host_outside_the_inventory_passes() -> None:
    assert problems_of(pi("a", 1), pi("b", 2, preflight_jump_host="gate.example")) == []
