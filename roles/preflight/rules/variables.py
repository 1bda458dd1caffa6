"""A host's variables: templated one by one, each with the file that sets it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import AnsibleVaultError
from ansible.template import Templar, trust_as_template
from jinja2 import Environment, TemplateSyntaxError

# There is no public way to find out where a value was read. If this one is gone, problems name the host's
# own file instead.
try:
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None

from roles.preflight.rules.connection import CHECKED, SECRETS
from roles.preflight.rules.fleet import IDENTITY
from roles.preflight.rules.problem import Key, Problem, show_key
from roles.preflight.rules.shapes import Options

# How Ansible connects to the Pi. The plays that connect don't see the other roles' defaults.
CONNECTION = (*CHECKED, "ansible_become_password", "ansible_ssh_common_args")
TEMPLATE = Path("templates/etc/smart-meter/config.toml.j2")
MANAGED = str(constants.config.get_config_value("DEFAULT_MANAGED_STR"))
"""The value of ansible_managed, which templates write into a file's header."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The variables of the repository's roles: argument specs by role, defaults by variable."""

    repository: Path
    specs: Mapping[str, Options]
    defaults: Mapping[str, Any]

    @property
    def variables(self) -> list[str]:
        """Return the names of all the roles' variables."""
        return [name for options in self.specs.values() for name in options]

    @property
    def secrets(self) -> list[str]:
        """Return the names of the variables that are secrets."""
        options = (item for options in self.specs.values() for item in options.items())
        return [*(name for name, option in options if option.get("no_log")), *SECRETS]


@cache
def load_roles(repository: Path) -> Roles:
    """Read every role's meta/argument_specs.yml and defaults/main.yml."""
    loader = DataLoader()
    specs: dict[str, Options] = {}
    defaults: dict[str, Any] = {}
    for path in sorted(repository.glob("roles/*/meta/argument_specs.yml")):
        role = path.parent.parent
        entry_points = loader.load_from_file(str(path))["argument_specs"].values()
        specs[role.name] = {
            name: option for entry in entry_points for name, option in entry["options"].items()
        }
        if (file := role / "defaults/main.yml").exists():
            defaults.update(loader.load_from_file(str(file), trusted_as_template=True) or {})
    return Roles(repository, specs, defaults)


@dataclass(slots=True)
class Variables:
    """One host's variables. raw: untemplated, as the play sees them, without defaults of roles outside it."""

    host: str
    raw: Mapping[str, Any]
    roles: Roles
    loader: DataLoader
    values: dict[str, Any] = field(default_factory=dict)
    failures: list[Problem] = field(default_factory=list)
    default_failures: list[Problem] = field(default_factory=list)

    @property
    def merged(self) -> dict[str, Any]:
        """Return all variables; the roles' defaults have the lowest precedence."""
        return {**self.roles.defaults, **self.raw}

    def resolve(self, names: Iterable[str]) -> None:
        """Template the variables into `values`; record those that fail."""
        merged = self.merged
        reaching = Templar(self.loader, dict(self.raw))
        templar = Templar(self.loader, merged)
        secrets = set(self.roles.secrets)
        for name in names:
            if name in merged:
                failures: list[Problem] = []
                one = reaching if name in CONNECTION else templar
                value = _resolve(one, (name,), merged[name], failures, hidden=name in secrets)
                if not failures:
                    self.values[name] = value
                elif self.is_default(name):
                    self.default_failures += failures
                else:
                    self.failures += failures

    def render(self) -> str:
        """Return the configuration file, byte for byte as the role `concentrator` would write it."""
        source = (self.roles.repository / TEMPLATE).read_text(encoding="utf-8")
        templar = Templar(self.loader, {**self.merged, "ansible_managed": MANAGED})
        rendered = templar.template(
            trust_as_template(source), escape_backslashes=False, overrides={"trim_blocks": True}
        )
        return str(rendered)

    def by_hand(self) -> list[str]:
        """Return the names of variables set in the inventory, beside a playbook, or on the command line."""
        if Origin is None:
            return []
        return [
            name
            for name, value in self.raw.items()
            if (Origin.get_tag(value) or Origin.get_tag(name)) is not None and not self.is_default(name)
        ]

    def is_default(self, name: str) -> bool:
        """Return whether a variable has its role's default."""
        if name not in self.raw:
            return True
        path = getattr(self._origin((name,)), "path", None)
        return path is not None and Path(path).is_relative_to(self.roles.repository / "roles")

    def place(self, key: Key) -> str:
        """Return the file and line that set a value; if it is not set, the file to set it in."""
        is_default = self.is_default(str(key[0]))
        origin = None if is_default else self._origin(key)
        if origin is not None and origin.path:
            return relative(Path(origin.path)) + (f":{origin.line_num}" if origin.line_num else "")
        if origin is not None and "-e" in origin.description:
            return "command line (-e)"
        source = Path(str(self.raw.get("inventory_file")))
        if origin is not None and source.is_file():
            # A script or a plugin has set it.
            return relative(source)
        return relative(self._host_file())

    def file_of(self, name: str) -> Path | None:
        """Return the file that a variable was read from; None if it was not read from a file."""
        path = getattr(self._origin((name,)), "path", None)
        return Path(path) if path else None

    def places(self) -> dict[str, str]:
        """Return the places of all variables that have to be unique."""
        return {name: self.place((name,)) for name in IDENTITY}

    def line(self, problem: Problem) -> str:
        """Return a problem as it is printed."""
        return f"{self.place(problem.key)}: {show_key(problem.key)}: {problem.message}"

    def _origin(self, key: Key) -> Any:
        """Return the origin of the innermost part of a key that still has one."""
        if Origin is None:
            return None
        node: Any = self.raw
        found = None
        for part in key:
            if isinstance(node, Mapping) and part in node:
                name = next(name for name in node if name == part)
                node = node[part]
                found = Origin.get_tag(node) or self._key_origin(name, top=len(key) == 1) or found
            elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                node = node[part]
                found = Origin.get_tag(node) or found
            else:
                break
        return found

    def _key_origin(self, name: str, *, top: bool) -> Any:
        """Return the origin of a key, for truth values and nulls, which have no origin of their own.

        If two files set the same variable, Ansible keeps the key of the one with lower precedence, so the
        files of the host and its groups are searched first.
        """
        folder = self._inventory_folder()
        entities = [f"group_vars/{group}" for group in self.raw.get("group_names", [])]
        for entity in [f"host_vars/{self.host}", *reversed(entities)] if top else []:
            for path in sorted([*folder.glob(f"{entity}.*"), *folder.glob(f"{entity}/**/*")]):
                with contextlib.suppress(
                    AnsibleError
                ):  # a folder, or a vault: the key's own origin has to do
                    data = self.loader.load_from_file(str(path))
                    if isinstance(data, Mapping) and name in data:
                        return Origin.get_tag(next(key for key in data if key == name))
        return Origin.get_tag(name)

    def _inventory_folder(self) -> Path:
        folders = [Path(str(self.raw.get(name))) for name in ("inventory_dir", "playbook_dir")]
        return next((folder for folder in folders if folder.is_dir()), Path())

    def _host_file(self) -> Path:
        folder = self._inventory_folder() / "host_vars"
        if (folder / self.host).is_dir():
            return folder / self.host / "main.yml"
        names = (f"{self.host}.yml", f"{self.host}.yaml", f"{self.host}.json", self.host)
        return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def relative(path: Path) -> str:
    """Return a path as it is printed: relative if it is below the working directory."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _resolve(templar: Templar, key: Key, raw: Any, failures: list[Problem], *, hidden: bool) -> Any:
    """Template a value part by part, so that a failure is reported with its own key.

    hidden: the value is a secret, and so may its text be.
    """
    if isinstance(raw, Mapping):
        return {
            str(name): _resolve(templar, (*key, str(name)), value, failures, hidden=hidden)
            for name, value in raw.items()
        }
    if isinstance(raw, list):
        parts = enumerate(raw)
        return [_resolve(templar, (*key, index), part, failures, hidden=hidden) for index, part in parts]
    if raw is None or isinstance(raw, bool | int | float) or (isinstance(raw, str) and "{" not in raw):
        # Most values are not templates, and this test is cheaper than Ansible's.
        return raw
    try:
        return templar.template(raw)
    except AnsibleError as error:
        failures.append(Problem(key, _explain(error, None if hidden else str(raw))))
        return None


_UNEXPLAINED = "can't be templated (ansible HOST -m debug -a var=NAME shows what is wrong)"
# The syntax that Ansible accepts; nothing is rendered with it.
_SYNTAX = Environment(autoescape=True, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
_PLUGIN = re.compile(r"The (filter|lookup|test) plugin '([\w.]+)' failed( to load)?")
_UNKNOWN = re.compile(r"No (filter|test) named '([\w.]+)'")


def _explain(error: AnsibleError, raw: str | None) -> str:
    """Return why a value can't be templated; Ansible's own message may contain a part of a secret.

    raw: the template, or None if it may not be shown.
    """
    if isinstance(error, AnsibleUndefinedVariable):
        reason = str(error.message).splitlines()[0]
        if "'vault_" in reason:
            return f"{reason}; define it in the vault (make vault, or ansible-vault edit)"
        return f"{reason}; define it, or fix the expression"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AnsibleVaultError) or "undecryptable" in str(cause):
            return (
                "can't be decrypted with the given vault passwords; give the right one"
                " (--vault-password-file or --ask-vault-pass), or encrypt the value again"
                " (ansible-vault encrypt_string)"
            )
        cause = cause.__cause__
    mistake = None if raw is None else _mistake(error, raw)
    return f"{mistake or _UNEXPLAINED}; fix the expression"


def _mistake(error: AnsibleError, raw: str) -> str | None:
    """Return which mistake a template has, from its own text; None if that would show another variable's."""
    try:
        _SYNTAX.parse(raw)
    except TemplateSyntaxError as syntax:
        return f"is not a template: {syntax.message}"
    text = str(error.message)
    if match := _PLUGIN.search(text):
        kind, name, loads = match[1], match[2], match[3] is None
        if name.rpartition(".")[2] in raw:
            return f"can't be templated: the {kind} {name} {'fails' if loads else 'can not be loaded'}"
    if (match := _UNKNOWN.search(text)) and match[2] in raw:
        return f"is not a template: there is no {match[1]} {match[2]}"
    if isinstance(error.__cause__, TypeError | ZeroDivisionError):
        return f"can't be templated: {error.__cause__}"
    return None
