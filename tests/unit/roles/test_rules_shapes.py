"""Argument specs and spelling."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from hypothesis import given
from hypothesis import strategies as st
from roles.preflight.rules.problem import Problem, parse_key, show, show_key
from roles.preflight.rules.shapes import Options, check_names, check_shapes

OPTIONS: Options = {
    "x_text": {"type": "str", "description": "A text."},
    "x_secret": {"type": "str", "no_log": True, "description": "A secret."},
    "x_choice": {"type": "str", "choices": ["read", "read-write"], "description": "A choice."},
    "x_int": {"type": "int", "description": "A number."},
    "x_float": {"type": "float", "description": "A number."},
    "x_bool": {"type": "bool", "description": "A truth value."},
    "x_names": {"type": "list", "elements": "str", "description": "Names."},
    "x_meters": {
        "type": "list",
        "elements": "dict",
        "description": "Meters.",
        "options": {
            "name": {"type": "str", "required": True, "description": "The meter's name."},
            "unit_id": {"type": "int", "required": True, "description": "Its unit identifier."},
            "maps": {
                "type": "list",
                "elements": "dict",
                "description": "Maps.",
                "options": {"address": {"type": "int", "description": "A register."}},
            },
        },
    },
}


def lines(problems: Any) -> list[str]:
    return [f"{show_key(found.key)}: {found.message}" for found in problems]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x_text", ""),
        ("x_choice", "read"),
        ("x_int", 0),
        ("x_float", 1),
        ("x_float", 0.5),
        ("x_bool", False),
        ("x_names", []),
        ("x_names", ["a"]),
        ("x_meters", [{"name": "a", "unit_id": 1, "maps": [{"address": 0}]}]),
    ],
)
def test_the_right_shape_passes(name: str, value: object) -> None:
    assert lines(check_shapes(OPTIONS, {name: value})) == []


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("x_text", True, "x_text: true is a truth value to YAML; give text in quotation marks"),
        ("x_text", 7, "x_text: 7 is a number to YAML; give text in quotation marks"),
        ("x_text", ["a"], 'x_text: ["a"] is a list; give text'),
        ("x_text", None, "x_text: is empty; give text, or leave the line out"),
        ("x_choice", "raed", 'x_choice: "raed" is unknown; give read or read-write; did you mean read?'),
        ("x_int", "7", 'x_int: "7" is text; give a whole number without quotation marks'),
        ("x_int", 1.5, "x_int: 1.5 is a number to YAML; give a whole number"),
        ("x_int", True, "x_int: true is a truth value to YAML; give a whole number"),
        ("x_bool", "yes", 'x_bool: "yes" is text; give true or false without quotation marks'),
        ("x_bool", 1, "x_bool: 1 is a number to YAML; give true or false"),
        ("x_float", 10**400, "x_float: the number is too large; give at most 308 digits"),
        ("x_float", -(10**400), "x_float: the number is too large; give at most 308 digits"),
        ("x_names", "a,b", 'x_names: "a,b" is text; give a list'),
        ("x_names", ["a", 2], "x_names[1]: 2 is a number to YAML; give text in quotation marks"),
        ("x_meters", {"name": "a"}, 'x_meters: {"name": "a"} is a record of keys and values; give a list'),
        ("x_meters", ["a"], 'x_meters[0]: "a" is text; give a record of keys and values'),
        (
            "x_meters",
            [{"name": "a", "unit_id": 1}, {"name": "b", "unit_id": 2, "unitid": 3}],
            "x_meters[1].unitid: is an unknown key; did you mean unit_id?",
        ),
        (
            "x_meters",
            [{"name": "a", "unit_id": 1, "zzz": 3}],
            "x_meters[0].zzz: is an unknown key; known here: name, unit_id, maps",
        ),
        (
            "x_meters",
            [{"name": "a"}],
            "x_meters[0].unit_id: is missing; give a whole number (Its unit identifier)",
        ),
        (
            "x_meters",
            [{"name": "a", "unit_id": 1, "maps": [{"address": "0"}]}],
            'x_meters[0].maps[0].address: "0" is text; give a whole number without quotation marks',
        ),
    ],
)
def test_the_wrong_shape_is_located(name: str, value: object, line: str) -> None:
    [problem] = lines(check_shapes(OPTIONS, {name: value}))
    assert problem.startswith(line)


@pytest.mark.parametrize("value", [12345678, True, ["hidden1"], {"hidden1": "hidden2"}])
def test_a_secret_of_the_wrong_type_is_not_shown(value: object) -> None:
    [problem] = lines(check_shapes(OPTIONS, {"x_secret": value}))
    assert problem.startswith("x_secret: the value is ")
    assert "12345678" not in problem
    assert "hidden" not in problem


FIELDS = st.sampled_from(["name", "unit_id", "maps", "q"])
values = st.recursive(
    # Ansible's validator stumbles over infinity where an integer is meant; nothing to compare ours with.
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(OPTIONS)), values))
def test_what_ansible_refuses_is_refused_here(given_values: dict[str, Any]) -> None:
    mine = list(check_shapes(OPTIONS, given_values))
    validated = ArgumentSpecValidator(dict(OPTIONS)).validate(
        dict(given_values), validate_role_argument_spec=True
    )
    if validated.error_messages:
        assert mine
    for found in mine:
        assert "\n" not in found.message


def test_what_only_ansible_knows_of_is_reported_in_its_words() -> None:
    options = {**OPTIONS, "x_needy": {"type": "str", "required": True, "description": "Needed."}}
    assert lines(check_shapes(options, {"x_text": "a"})) == [
        "x_text: missing required arguments: x_needy; see roles/*/meta/argument_specs.yml"
    ]


SPECS: dict[str, Options] = {
    "network": {"network_country": {}, "network_field_gateway": {}, "network_control_gateway": {}},
    "concentrator": {"concentrator_port": {}},
}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("concentrator_prot", "is not a variable of the role concentrator; did you mean concentrator_port?"),
        ("network_contry", "is not a variable of the role network; did you mean network_country?"),
        (
            "network_qqqqqqqq",
            "is not a variable of the role network; roles/network/defaults/main.yml lists the names",
        ),
        ("netwrok_country", "is not a variable of any role; did you mean network_country?"),
        ("Network_Country", "is not a variable of any role; did you mean network_country?"),
        ("NETWORK_country", "is not a variable of any role; did you mean network_country?"),
        ("network-country", "is not a variable of any role; did you mean network_country?"),
        ("Concentrator-Port", "is not a variable of any role; did you mean concentrator_port?"),
        (
            "__network_zones",
            "is computed by a role, which would go on with this value; set the role's own variables",
        ),
        ("ansible_prot", "is not a variable of Ansible's; did you mean ansible_port?"),
        ("ansible_usr", "is not a variable of Ansible's; did you mean ansible_user?"),
        ("Ansible_Host", "is not a variable of Ansible's; did you mean ansible_host?"),
        ("ansible-user", "is not a variable of Ansible's; did you mean ansible_user?"),
        ("ansible_perl_interpreter", None),
        ("ansible_network_os", None),
        ("ansible_verbosity", None),
        ("ansible_facts_of_ours", None),
        ("__zones_of_ours", None),
        ("my_network_country", None),
        ("ansible_host", None),
        ("office_network", None),
        ("preflight_last_host", None),
        ("network_country", None),
    ],
)
def test_misspelt_variables_are_found_and_strangers_left_alone(name: str, line: str | None) -> None:
    found = list(check_names(SPECS, [name], [name]))
    assert found == ([Problem((name,), line)] if line else [])


@pytest.mark.parametrize("name", ["netwrok_country", "__network_zones", "ansible_prot"])
def test_a_misspelt_role_counts_only_where_a_person_wrote_it(name: str) -> None:
    assert list(check_names(SPECS, [name], [])) == []


words = st.from_regex(r"[a-z_]+", fullmatch=True)
keys = st.tuples(words, st.lists(st.integers(0, 99) | words)).map(lambda key: (key[0], *key[1]))


@given(keys)
def test_a_key_that_was_shown_can_be_read_back(key: tuple[str | int, ...]) -> None:
    assert parse_key(show_key(key)) == key


@given(st.text() | st.lists(st.text()))
def test_a_shown_value_is_one_short_printable_line(value: object) -> None:
    assert show(value).isprintable()
    assert len(show(value)) <= 60
