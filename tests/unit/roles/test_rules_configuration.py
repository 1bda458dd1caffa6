"""The program's own rules, translated back into the inventory's variables."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from roles.preflight.rules.configuration import check_configuration, variable_of
from roles.preflight.rules.host import Host, check_host
from roles.preflight.rules.problem import Problem, parse_key, problem, show_key
from roles.preflight.rules.shapes import Options
from roles.preflight.rules.variables import Variables
from tests.unit.roles.loaded import ROLES

from smart_meter.config import AccessRule, Config, MeterConfig, ZoneConfig, loads
from smart_meter.registers.register_map import Measurement


def problems_of(**variables: Any) -> list[str]:
    found = Variables("pi", variables, ROLES, DataLoader())
    rendered = found.render()
    zones_are_default = "concentrator_zones" not in variables
    return [
        f"{show_key(each.key)}: {each.message}"
        for each in check_configuration(rendered, zones_are_default=zones_are_default)
    ]


def rendered(yaml: str) -> str:
    """Return the configuration file of a Pi with these variables, read as Ansible reads them."""
    variables = DataLoader().load(yaml)
    return Variables("pi", variables, ROLES, DataLoader()).render()


def meter(name: str, unit_id: int, **measurement: Any) -> dict[str, Any]:
    measurements = [{"name": "P_ac", "address": 0, "type": "uint16", **measurement}]
    return {"name": name, "unit_id": unit_id, "measurements": measurements}


def test_the_roles_defaults_are_a_configuration_that_the_program_takes() -> None:
    assert problems_of() == []


def test_the_roles_defaults_are_the_programs_but_for_a_history_and_an_audit_trail() -> None:
    config = loads(rendered("{}"), "config.toml")

    assert config.history.path == "/var/lib/smart-meter/history.db"
    assert config.events.path == "/var/lib/smart-meter/events.db"
    without = config._replace(
        history=config.history._replace(path=""), events=config.events._replace(path="")
    )
    assert without == Config()


@pytest.mark.parametrize("table", ["server", "journal", "history", "events"])
def test_every_key_of_the_program_has_a_variable(table: str) -> None:
    keys = set(getattr(Config(), table)._fields)

    assert set(tomllib.loads(rendered("{}"))[table]) == keys
    for key in keys:
        assert variable_of((table, key), zones_are_default=True) is not None, key


def test_the_specs_of_zones_and_meters_have_the_programs_keys() -> None:
    specs = ROLES.specs["concentrator"]
    zones, meters = (specs[name]["options"] for name in ("concentrator_zones", "concentrator_meters"))

    def keys_of(kind: Any) -> set[str]:
        return set(kind._fields)

    assert set(zones) == keys_of(ZoneConfig)
    assert set(meters) == keys_of(MeterConfig) - {"map"} | {"measurements"}
    assert set(meters["access"]["options"]) == keys_of(AccessRule)
    assert set(meters["measurements"]["options"]) == keys_of(Measurement)


def test_a_meter_arrives_as_it_was_described() -> None:
    text = rendered("""
concentrator_meters:
  - name: roof
    unit_id: 3
    stale_after: 2.5
    on_stale: sentinel
    publish: complete
    out_of_range: refuse
    access:
      - {zone: field, clients: [192.168.1.50, 192.168.1.48/29], access: write, functions: [6, 16]}
      - {zone: control}
    measurements:
      - {name: E, address: 0, type: float32, word_order: little, scale: 1.0e-9, sentinel: .nan}
      - {name: T, address: 2, type: int16, offset: -0.5, minimum: -40, maximum: 1.0e+2, sentinel: 0x7fff}
  - {name: shed, unit_id: 4, measurements: [{name: P, address: 0, type: uint16}]}
""")

    [roof, shed] = loads(text, "config.toml").meters
    [energy, temperature] = roof.map.measurements
    assert (roof.stale_after, roof.on_stale.value, roof.publish.value) == (2.5, "sentinel", "complete")
    assert roof.out_of_range.value == "refuse"
    assert [(rule.zone, rule.access.value, rule.functions) for rule in roof.access] == [
        ("field", "write", frozenset({6, 16})),
        ("control", "read", frozenset()),
    ]
    assert [str(network) for network in roof.access[0].clients] == ["192.168.1.50/32", "192.168.1.48/29"]
    assert (energy.scale, energy.word_order.value) == (1e-9, "little")
    assert energy.sentinel is not None
    assert math.isnan(energy.sentinel)
    assert (temperature.offset, temperature.minimum, temperature.maximum) == (-0.5, -40, 100)
    assert temperature.sentinel == 0x7FFF
    assert shed.access == ()


@pytest.mark.parametrize(
    ("yaml", "variable"),
    [
        ("concentrator_zones: []", "concentrator_zones"),
        ("concentrator_meters: []", "concentrator_meters"),
        (
            "concentrator_meters: [{name: a, unit_id: 1, measurements: []}]",
            "concentrator_meters[0].measurements",
        ),
        (
            "concentrator_meters: [{name: a, unit_id: 1, access: [], "
            "measurements: [{name: P, address: 0, type: uint16}]}]",
            "concentrator_meters[0].access",
        ),
    ],
)
def test_an_empty_list_is_no_list_that_was_left_out(yaml: str, variable: str) -> None:
    found = check_configuration(rendered(yaml), zones_are_default=False)
    assert variable in [show_key(each.key) for each in found]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concentrator_name", "two\nlines"),
        ("concentrator_host", "wlan0"),
        ("concentrator_port", 70000),
        ("concentrator_log_format", "xml"),
        ("concentrator_max_connections", 0),
        ("concentrator_max_connections_per_client", 9000),
        ("concentrator_idle_timeout", -1),
        ("concentrator_frame_timeout", 0),
        ("concentrator_statistics_interval", -1),
        ("concentrator_lines_per_second", float("nan")),
        ("concentrator_history_path", "history.db"),
        ("concentrator_history_commit_interval", 7200),
        ("concentrator_history_max_age_days", 0),
        ("concentrator_history_max_size_mib", float("inf")),
        ("concentrator_field_peer", "a[b]"),
        ("concentrator_control_medium", ""),
        ("network_field_interface", "wlan 0"),
        ("network_control_interface", ""),
    ],
)
def test_a_refused_value_is_reported_with_its_variable(name: str, value: object) -> None:
    lines = problems_of(**{name: value})
    assert [line.split(":")[0] for line in lines] == [name]


def test_a_zones_address_is_reported_with_its_variable() -> None:
    lines = problems_of(network_control_address="192.168.1.7/24")
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
    lines = problems_of(concentrator_zones=[zone, {**zone, "name": "other", "peer": "Other"}])
    assert {line.split(":")[0] for line in lines} == {
        "concentrator_zones[1].address",
        "concentrator_zones[1].network",
    }


def test_a_meters_mistake_keeps_its_place() -> None:
    lines = problems_of(concentrator_meters=[meter("east", 1), meter("west", 2, address=70000)])
    assert [line.split(":")[0] for line in lines] == ["concentrator_meters[1].measurements[0].address"]


def test_what_can_not_work_is_reported_with_its_variable() -> None:
    rules = [
        {"zone": "field", "access": "read-write"},
        {"zone": "field", "clients": ["192.168.1.50"], "access": "write"},
        {"zone": "control", "access": "write", "functions": [8]},
    ]
    lines = problems_of(
        concentrator_history_path="/usr",
        concentrator_meters=[
            {**meter("east", 1, minimum=-40, maximum=70000), "access": rules},
            meter("west", 2, minimum=0, maximum=100, sentinel=0),
        ],
    )
    assert lines == [
        'concentrator_history_path: "/usr" is a folder; give an absolute path, such as '
        '"/var/lib/smart-meter/history.db", or "" for no history',
        "concentrator_meters[0].access[2].functions: [8] has no function code that writes (6, 16, 22, 23), "
        'so access "write" lets nobody write; add one, or give access "none"',
        "concentrator_meters[0].access[1].clients: ['192.168.1.50'] is never reached: access[0] "
        "already decides for all of these clients; put this rule first, or remove it",
        "concentrator_meters[0].measurements[0].minimum: -40 is stored as -40, outside 0 to 65535 of uint16; "
        "give 0 to 65535",
        "concentrator_meters[0].measurements[0].maximum: 70000 is stored as 70000, outside 0 to 65535 of "
        "uint16; give 0 to 65535",
        "concentrator_meters[1].measurements[0].sentinel: 0 lies in the range, so it is a value; give one "
        "outside",
    ]


@pytest.mark.parametrize(
    ("key", "variable"),
    [
        ("zones[0].network", "network_field_address"),
        ("zones[1].peer", "concentrator_control_peer"),
        ("zones[0].name", "concentrator_zones"),
        ("zones", "concentrator_zones"),
        ("zones[2].name", "concentrator_zones[2].name"),
        ("history.path", "concentrator_history_path"),
        ("events.max_age_days", "concentrator_events_max_age_days"),
        ("meters[3].measurements[2].scale", "concentrator_meters[3].measurements[2].scale"),
        ("meters[1].access[0].clients", "concentrator_meters[1].access[0].clients"),
    ],
)
def test_every_key_leads_to_a_variable(key: str, variable: str) -> None:
    found = variable_of(parse_key(key), zones_are_default=True)
    assert found is not None
    assert show_key(found) == variable


def test_what_is_no_toml_is_reported_with_its_line() -> None:
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
        "plain": [],
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


def test_a_default_that_follows_a_refused_value_is_not_reported_as_well() -> None:
    follower = problem("firewall_modbus_port", "can't be templated")
    cause = problem("concentrator_port", "is undefined")
    assert check_host(SPECS, host(failures=[cause], default_failures=[follower])) == [cause]
    assert check_host(SPECS, host(default_failures=[follower])) == [follower]


def test_a_configuration_that_cant_be_rendered_is_reported_only_by_itself() -> None:
    def broken() -> str:
        raise ZeroDivisionError("in the template")

    cause = problem("concentrator_port", "is undefined")
    assert check_host(SPECS, host(broken, failures=[cause])) == [cause]
    [found] = check_host(SPECS, host(broken))
    assert found.message == "can't be written as configuration: in the template"
