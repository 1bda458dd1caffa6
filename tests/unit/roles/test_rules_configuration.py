"""The program's own rules, translated back into the inventory's variables."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from roles.preflight.rules.configuration import check_configuration, variable_of
from roles.preflight.rules.host import Host, check_host
from roles.preflight.rules.problem import Problem, parse_key, problem, show_key
from roles.preflight.rules.shapes import Options
from roles.preflight.rules.variables import Variables, load_roles
from tests.unit.roles.site import REPOSITORY

# As every Ansible command does before it begins: filters of collections are found from here on.
init_plugin_loader()
ROLES = load_roles(REPOSITORY)


def told(**variables: Any) -> list[str]:
    found = Variables("pi", variables, ROLES, DataLoader())
    rendered = found.render()
    zones_are_default = "concentrator_zones" not in variables
    return [
        f"{show_key(each.key)}: {each.message}"
        for each in check_configuration(rendered, zones_are_default=zones_are_default)
    ]


def meter(name: str, unit_id: int, **measurement: Any) -> dict[str, Any]:
    measurements = [{"name": "P_ac", "address": 0, "type": "uint16", **measurement}]
    return {"name": name, "unit_id": unit_id, "measurements": measurements}


def test_the_roles_defaults_are_a_configuration_that_the_program_takes() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concentrator_name", "two\nlines"),
        ("concentrator_host", "wlan0"),
        ("concentrator_port", 70000),
        ("concentrator_log_format", "xml"),
        ("concentrator_statistics_interval", -1),
        ("concentrator_field_peer", "a[b]"),
        ("concentrator_control_medium", ""),
        ("network_field_interface", "wlan 0"),
        ("network_control_interface", ""),
    ],
)
def test_a_refused_value_is_told_by_its_variable(name: str, value: object) -> None:
    lines = told(**{name: value})
    assert [line.split(":")[0] for line in lines] == [name]


def test_a_zones_address_is_told_by_the_variable_that_it_comes_from() -> None:
    lines = told(network_control_address="192.168.1.7/24")
    assert {line.split(":")[0] for line in lines} == {"network_control_address"}


def test_zones_of_ones_own_keep_their_place() -> None:
    zone = {
        "name": "field",
        "peer": "ESP32",
        "medium": "WiFi",
        "interface": "wlan0",
        "address": "192.168.1.100",
        "network": "192.168.1.0/24",
        "access": "read-write",
    }
    lines = told(concentrator_zones=[zone, {**zone, "name": "other", "peer": "Other"}])
    assert {line.split(":")[0] for line in lines} == {
        "concentrator_zones[1].address",
        "concentrator_zones[1].network",
    }


def test_a_meters_mistake_keeps_its_place() -> None:
    lines = told(concentrator_meters=[meter("east", 1), meter("west", 2, address=70000)])
    assert [line.split(":")[0] for line in lines] == ["concentrator_meters[1].measurements[0].address"]


@pytest.mark.parametrize(
    ("key", "variable"),
    [
        ("zones[0].network", "network_field_address"),
        ("zones[1].peer", "concentrator_control_peer"),
        ("zones[0].name", "concentrator_zones"),
        ("zones", "concentrator_zones"),
        ("zones[2].name", "concentrator_zones[2].name"),
        ("meters[3].measurements[2].scale", "concentrator_meters[3].measurements[2].scale"),
    ],
)
def test_every_key_leads_to_a_variable(key: str, variable: str) -> None:
    found = variable_of(parse_key(key), zones_are_default=True)
    assert found is not None
    assert show_key(found) == variable


def test_what_is_no_toml_is_told_with_its_line() -> None:
    [found] = check_configuration("name = \n", zones_are_default=True)
    assert found.variable == "concentrator_meters"
    assert "line 1" in found.message


SPECS: dict[str, Options] = {"network": {"network_country": {"type": "str", "description": "Where."}}}


def host(render: Any = lambda: "", **changes: Any) -> Host:
    fields = {
        "values": {"ansible_user": "root"},
        "names": [],
        "by_hand": [],
        "defaults": [],
        "password_asked": False,
    }
    return Host(**{**fields, "render": render, **changes})


def test_one_problem_a_value_is_enough() -> None:
    failures = [
        Problem(("network_country",), "is undefined"),
        Problem(("concentrator_meters", 0, "name"), "is odd"),
    ]
    refused = '[[meters]]\nname = ""\nunit_id = 900\n'
    found = check_host(SPECS, host(lambda: refused, failures=failures))
    assert [show_key(each.key) for each in found] == [
        "network_country",
        "concentrator_meters[0].name",
        "concentrator_meters[0].unit_id",
    ]


def test_a_default_that_follows_a_refused_value_is_not_told_as_well() -> None:
    follower = problem("firewall_modbus_port", "can't be templated")
    cause = problem("concentrator_port", "is undefined")
    assert check_host(SPECS, host(failures=[cause], default_failures=[follower])) == [cause]
    assert check_host(SPECS, host(default_failures=[follower])) == [follower]


def test_a_configuration_that_cant_be_rendered_is_told_where_nothing_else_is() -> None:
    def broken() -> str:
        raise ZeroDivisionError("in the template")

    cause = problem("concentrator_port", "is undefined")
    assert check_host(SPECS, host(broken, failures=[cause])) == [cause]
    [found] = check_host(SPECS, host(broken))
    assert found.message == "can't be written as configuration: in the template"
