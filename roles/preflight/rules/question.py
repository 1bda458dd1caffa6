"""The question of the look: what the roles want to know, and the program that answers it on the Pi.

A role names what it manages in its vars/main.yml: `__ROLE_files` (by path: mode, owner, group),
`__ROLE_units` and `__ROLE_users` (lists of names); and in `__ROLE_asked` files that it only wants to know of.
The look asks for all of them at once.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from roles.preflight.rules.variables import Variables

# Each module after those that it imports.
_MODULES = ("reading", "commands", "machine", "network", "program")
_PACKAGE = "roles.preflight.look"
_FOLDER = Path(__file__).resolve().parents[1] / "look"
_INTERFACES = ("network_field_interface", "network_control_interface")

_LOADER = """\
import sys, types
def load(name, source, main):
    module = types.ModuleType("__main__" if main else name)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
    exec(compile(source, name, "exec"), module.__dict__)
"""


@cache
def program() -> str:
    """Return the Python program that answers: the modules of look/ in one text, for `python3 -`."""
    parts = _PACKAGE.split(".")
    packages = [".".join(parts[: length + 1]) for length in range(len(parts))]
    sources = [(name, "") for name in packages]
    sources += [
        (f"{_PACKAGE}.{name}", (_FOLDER / f"{name}.py").read_text(encoding="utf-8")) for name in _MODULES
    ]
    calls = [f"load({name!r}, {source!r}, {name.endswith('.program')})\n" for name, source in sources]
    return _LOADER + "".join(calls)


def question(variables: Variables) -> dict[str, Any]:
    """Return the program's argument for a host, from the roles' internal variables and the host's own."""
    internal = internal_variables(variables.roles.repository)
    templar = Templar(variables.loader, {**variables.roles.defaults, **internal, **variables.raw})
    managed: dict[str, set[str]] = {"files": set(), "units": set(), "users": set()}
    for role in variables.roles.specs:
        for what, names in managed.items():
            names.update(map(str, templar.template(internal.get(f"__{role}_{what}", []))))
        managed["files"].update(map(str, templar.template(internal.get(f"__{role}_asked", []))))
    variables.resolve([*_INTERFACES, "concentrator_port"])
    values = variables.values
    return {
        **{what: sorted(names) for what, names in managed.items()},
        "interfaces": [str(values[name]) for name in _INTERFACES if name in values],
        "port": int(values.get("concentrator_port", 0)),
    }


@cache
def internal_variables(repository: Path) -> dict[str, Any]:
    """Read every role's vars/main.yml."""
    loader = DataLoader()
    found: dict[str, Any] = {}
    for path in sorted(repository.glob("roles/*/vars/main.yml")):
        found.update(loader.load_from_file(str(path), trusted_as_template=True) or {})
    return found
