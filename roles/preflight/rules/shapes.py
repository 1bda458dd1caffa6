"""Argument specs: types, choices, unknown keys and misspelt names, each located to the element that is wrong.

Ansible's own validator names the variable, but not the element of a list; and it accepts values that a role
does not, such as text for a truth value.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from roles.preflight.rules.connection import misspelt
from roles.preflight.rules.problem import Key, Problem, Values, near, problem, show

Options = Mapping[str, Mapping[str, Any]]
"""The options of an argument spec, by name."""

_EXPECTED = {
    "str": "text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a record of keys and values",
    "raw": "a value",
}

_TYPES: dict[str, type | UnionType] = {
    "str": str,
    "path": str,
    "int": int,
    "float": int | float,
    "bool": bool,
    "list": list,
    "dict": Mapping,
}

_LARGEST = int(sys.float_info.max)

# Variables that the playbooks set: they are not settings, but not misspelt either.
PASSED_ON = frozenset({"preflight_inventory_host", "preflight_last_host"})


def check_shapes(options: Options, values: Values) -> Iterator[Problem]:
    """Check a role's variables by its argument spec."""
    found = False
    for name, option in options.items():
        if name in values:
            for each in _check_value((name,), values[name], option):
                found = True
                yield each
    if not found:
        given = {name: values[name] for name in options if name in values}
        result = ArgumentSpecValidator(dict(options)).validate(given, validate_role_argument_spec=True)
        for message in result.error_messages:
            yield problem(min(given), f"{message}; see roles/*/meta/argument_specs.yml")


def _check_value(key: Key, value: object, option: Mapping[str, Any]) -> Iterator[Problem]:
    kind = option.get("type", "str")
    expected = _EXPECTED.get(kind, kind)
    shown = "the value" if option.get("no_log") else show(value)
    if value is None:
        yield Problem(key, f"is empty; give {expected}, or leave the line out")
    elif not _is_a(kind, value):
        yield Problem(key, f"{shown} is {_name(value)}; give {expected}{_quoting(kind, value)}")
    elif kind == "float" and isinstance(value, int) and abs(value) > _LARGEST:
        # Ansible's validator would raise OverflowError.
        yield Problem(key, "the number is too large; give at most 308 digits")
    elif "choices" in option and value not in option["choices"]:
        choices = [str(choice) for choice in option["choices"]]
        yield Problem(key, f"{shown} is unknown; give {' or '.join(choices)}{near(str(value), choices)}")
    elif isinstance(value, list):
        element = {
            "type": option.get("elements", "raw"),
            **{name: option[name] for name in ("options", "no_log") if name in option},
        }
        for index, entry in enumerate(value):
            yield from _check_value((*key, index), entry, element)
    elif isinstance(value, Mapping) and "options" in option:
        yield from _check_record(key, value, option["options"])


def _check_record(key: Key, record: Mapping[Any, Any], options: Options) -> Iterator[Problem]:
    for name, value in record.items():
        if name in options:
            yield from _check_value((*key, str(name)), value, options[name])
        else:
            known = f"; known here: {', '.join(options)}"
            yield Problem((*key, str(name)), f"is an unknown key{near(str(name), options) or known}")
    for name, option in options.items():
        if option.get("required") and name not in record:
            expected = _EXPECTED.get(option.get("type", "str"), "a value")
            yield Problem((*key, name), f"is missing; give {expected} ({option['description'].rstrip('.')})")


def _is_a(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind in {"bool", "raw"}
    return isinstance(value, _TYPES.get(kind, object))


def _name(value: object) -> str:
    if isinstance(value, bool):
        return "a truth value to YAML"
    if isinstance(value, int | float):
        return "a number to YAML"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a record of keys and values"


def _quoting(kind: str, value: object) -> str:
    if kind == "str" and isinstance(value, bool | int | float):
        return " in quotation marks (YAML reads no, yes, on, off and digits as something else)"
    if kind in {"int", "float", "bool"} and isinstance(value, str):
        return """ without quotation marks (on the command line as JSON: -e '{"NAME": VALUE}')"""
    return ""


def check_names(
    specs: Mapping[str, Options], names: Iterable[str], by_hand: Iterable[str]
) -> Iterator[Problem]:
    """Find misspelt variables.

    specs: each role's options by the role's name. names: all variables of the host. by_hand: those set in
    the inventory or on the command line, in which the role's name itself may be misspelt.
    """
    known = [name for options in specs.values() for name in options]
    set_by_hand = set(by_hand)
    internal = tuple(f"__{role}_" for role in specs)
    for name in sorted(set(names)):
        role = next((role for role in specs if name.startswith(f"{role}_")), None)
        if name in known or name in PASSED_ON:
            continue
        if role is not None:
            own = list(specs[role])
            hint = near(name, own) or near(name, known)
            see = f"; roles/{role}/defaults/main.yml lists the names"
            yield problem(name, f"is not a variable of the role {role}{hint or see}")
        elif name not in set_by_hand:
            continue
        elif name.startswith(internal):
            message = "is computed by a role, which would go on with this value; set the role's own variables"
            yield problem(name, message)
        elif nearest := misspelt(name):
            yield problem(name, f"is not a variable of Ansible's; did you mean {nearest}?")
        elif nearest := meant(name, specs):
            yield problem(name, f"is not a variable of any role; did you mean {nearest}?")


def meant(name: str, specs: Mapping[str, Options]) -> str | None:
    """Return the variable that is meant if case, a hyphen or the role's own name is wrong.

    Such as `Network_Country`, `network-country` and `netwrok_country`.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())
    if any(plain in options for options in specs.values()):
        return plain
    prefix, _, rest = plain.partition("_")
    for role in difflib.get_close_matches(prefix, list(specs), n=1, cutoff=0.8):
        candidates = {option.removeprefix(f"{role}_"): option for option in specs[role]}
        for found in difflib.get_close_matches(rest, list(candidates), n=1, cutoff=0.8):
            return candidates[found]
    return None
