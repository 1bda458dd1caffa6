"""The settings of the concentrator: its role's argument specs, and the tables of docs/settings.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import yaml
from roles.preflight.rules.configuration import VARIABLES
from tools.generate import REPOSITORY, replace

from smart_meter.config import AccessRule, Config, MeterConfig, ZoneConfig
from smart_meter.config.measurements import SETTINGS as MEASUREMENT
from smart_meter.config.settings import (
    Bool,
    Choice,
    CustomSetting,
    Integer,
    Setting,
    Text,
    scalar_settings,
    settings_of,
)
from smart_meter.registers.register_map import Measurement

_SPECS = REPOSITORY / "roles/concentrator/meta/argument_specs.yml"
_DEFAULTS = REPOSITORY / "roles/concentrator/defaults/main.yml"
_PAGE = REPOSITORY / "docs/settings.md"

Option = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writes YAML as ansible-lint asks for it: a list is indented below its key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def specs() -> str:
    """Return the argument specs with every option that is a key of the configuration file."""
    defaults = yaml.safe_load(_DEFAULTS.read_text(encoding="utf-8"))
    options = {
        VARIABLES[key]: _option(kind, default=defaults[VARIABLES[key]])
        for key, kind in scalar_settings(Config).items()
    }
    options["concentrator_zones"] = {
        **_records(_options_of(settings_of(ZoneConfig), ZoneConfig._field_defaults)),
        "default": defaults["concentrator_zones"],
        "description": "The networks that are let in, and what each may do.",
    }
    rules = _records(_options_of(settings_of(AccessRule), AccessRule._field_defaults))
    # An inventory names the type of each measurement, so that a reader need not know the default.
    typed = {name: value for name, value in Measurement._field_defaults.items() if name != "type"}
    measurements = _records(_options_of(MEASUREMENT, typed))
    meter = {
        **_options_of(settings_of(MeterConfig), MeterConfig._field_defaults),
        "access": {
            **rules,
            "description": "Who may do what with it: the first rule that matches, or the zones by default.",
        },
        "measurements": {**measurements, "required": True, "description": "Its measurements."},
    }
    options["concentrator_meters"] = {
        **_records(meter),
        "default": defaults["concentrator_meters"],
        "description": "The meters, each a unit identifier with its register map.",
    }
    text = yaml.dump(options, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return replace(_SPECS, "make generate", textwrap.indent(text, " " * 6))


def _records(options: Mapping[str, Option]) -> Option:
    return {"type": "list", "elements": "dict", "options": dict(options)}


def _options_of(settings: Mapping[str, Setting], defaults: Mapping[str, Any]) -> dict[str, Option]:
    return {name: _option(kind, required=name not in defaults) for name, kind in settings.items()}


def _option(kind: Setting, *, required: bool = False, default: Any = None) -> Option:
    option: Option = {"type": _type(kind)}
    if isinstance(kind, CustomSetting) and kind.elements:
        option["elements"] = kind.elements
    if isinstance(kind, Choice):
        option["choices"] = kind.values
    if required:
        option["required"] = True
    if default is not None:
        option["default"] = default
    return {**option, "description": kind.description}


def _type(kind: Setting) -> str:
    match kind:
        case CustomSetting():
            return kind.kind
        case Text() | Choice():
            return "str"
        case Integer():
            return "int"
        case Bool():
            return "bool"
        case _:
            return "float"


def page() -> str:
    """Return docs/settings.md."""
    defaults = yaml.safe_load(_DEFAULTS.read_text(encoding="utf-8"))
    rows = [
        (f"`{'.'.join(key)}`", f"`{VARIABLES[key]}`", _show(defaults[VARIABLES[key]]), kind)
        for key, kind in scalar_settings(Config).items()
    ]
    lines = [
        "| key | variable | default | values | meaning |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {key} | {variable} | {default} | {_values(kind)} | {kind.description} |"
            for key, variable, default, kind in rows
        ),
        "",
        *_table("[[zones]]", settings_of(ZoneConfig), ZoneConfig._field_defaults),
        *_table("[[meters]]", settings_of(MeterConfig), MeterConfig._field_defaults),
        *_table("[[meters.access]]", settings_of(AccessRule), AccessRule._field_defaults),
        *_table("[[meters.measurements]]", MEASUREMENT, Measurement._field_defaults),
    ]
    return replace(_PAGE, "make generate", "\n".join(lines))


def _table(title: str, settings: Mapping[str, Setting], defaults: Mapping[str, Any]) -> Iterator[str]:
    yield f"## `{title}`"
    yield ""
    yield "| key | default | values | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, kind in settings.items():
        default = _show(defaults[name]) if name in defaults else "required"
        yield f"| `{name}` | {default} | {_values(kind)} | {kind.description} |"
    yield ""


def _values(kind: Setting) -> str:
    if isinstance(kind, Choice):
        return ", ".join(f"`{value}`" for value in kind.values)
    return kind.hint.replace("|", "\\|")


def _show(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if value is None or value in ((), frozenset()):
        return ""
    return (
        f"`{value:g}`"
        if isinstance(value, float)
        else f'`"{value}"`'
        if isinstance(value, str)
        else f"`{value}`"
    )


PRODUCTS = {_SPECS: specs, _PAGE: page}
