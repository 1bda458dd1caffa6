"""The kinds of settings: how one is read and checked, and how it is described.

A setting is a field of a record in `model.py`, annotated with its kind:

    port: Annotated[int, Integer("The TCP port that the server listens on.", 1, 65535)] = 502

The reader, the concentrator role's argument specs, the names of the inventory's variables and
docs/settings.md all come from that line (`make generate`).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_origin, get_type_hints

from smart_meter.config.names import ANY_TEXT
from smart_meter.config.toml_table import Table, one_of, show

Record = TypeVar("Record", bound=tuple[Any, ...])


class Text(NamedTuple):
    """A string that matches a pattern; `hint` describes these strings."""

    description: str
    hint: str
    pattern: re.Pattern[str] = ANY_TEXT
    fault: Callable[[str], str] | None = None
    """Returns what else is wrong with a string, such as "is not an IP address", or nothing."""

    def read(self, table: Table, name: str, default: str | None) -> str | None:
        """Return the string under a key, or None and a problem."""
        value = table.text(name, default, self.pattern, self.hint)
        if value is not None and self.fault and (fault := self.fault(value)):
            table.problem(name, f"{show(value)} {fault}; give {self.hint}")
            return None
        return value


class Integer(NamedTuple):
    """An integer from `low` to `high`, both included; if it is optional, it has no default."""

    description: str
    low: int
    high: int
    noun: str = "an integer"
    optional: bool = False

    @property
    def hint(self) -> str:
        """Return which numbers are accepted."""
        return f"{self.noun} from {self.low} to {self.high}"

    def read(self, table: Table, name: str, default: int | None) -> int | None:
        """Return the integer under a key, or None and a problem; or None if left out."""
        if self.optional:
            return table.optional_integer(name, self.low, self.high, self.hint)
        return table.integer(name, default, self.low, self.high, self.hint)


class Number(NamedTuple):
    """An integer or float from `low` to `high`, both included; it may be left out if it has no default."""

    description: str
    low: float
    high: float
    hint: str

    def read(self, table: Table, name: str, default: float | None) -> float | None:
        """Return the number under a key, or None and a problem; or None if left out."""
        if default is None:
            return table.optional_number(name, self.low, self.high, self.hint)
        return table.number(name, default, self.low, self.high, self.hint)


class Seconds(NamedTuple):
    """Seconds from `low` to `high`, or 0, which `zero` explains: "for never"."""

    description: str
    low: float
    high: float
    zero: str

    @property
    def hint(self) -> str:
        """Return which numbers are accepted."""
        return f"seconds from {self.low:g} to {self.high:.10g}, or 0 {self.zero}"

    def read(self, table: Table, name: str, default: float) -> float | None:
        """Return the seconds under a key, or None and a problem."""
        return table.seconds(name, default, self.low, self.high, self.zero)


class Choice(NamedTuple):
    """The value of one member of an enumeration."""

    description: str
    members: Iterable[enum.Enum]

    @property
    def values(self) -> list[str]:
        """Return the strings that are accepted."""
        return [str(member.value) for member in self.members]

    @property
    def hint(self) -> str:
        """Return which strings are accepted."""
        return one_of(self.values)

    def read(self, table: Table, name: str, default: enum.Enum) -> enum.Enum | None:
        """Return the member with the value under a key, or None and a problem."""
        value = table.choice(name, str(default.value), self.values)
        return None if value is None else type(default)(value)


class CustomSetting(NamedTuple):
    """A setting that is read by its own code; `kind` and `elements` are types of Ansible's argument specs."""

    description: str
    hint: str
    kind: str
    elements: str = ""


class Bool(NamedTuple):
    """True or false; or None, if it may be left out."""

    description: str
    hint: str

    def read(self, table: Table, name: str, default: bool | None) -> bool | None:
        """Return the truth value under a key, or its default; None and a problem for anything else."""
        return table.boolean(name, default, self.hint)


Setting = Text | Integer | Number | Seconds | Choice | Bool | CustomSetting


def choices(description: str, kind: type[enum.Enum]) -> Choice:
    """Return a choice of any member of an enumeration."""
    return Choice(description, kind)


@cache
def settings_of(record: type[tuple[Any, ...]]) -> dict[str, Setting]:
    """Return the kinds of a record's settings by field, in the fields' order."""
    hints = get_type_hints(record, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated}


def scalar_settings(record: type[tuple[Any, ...]]) -> dict[tuple[str, ...], Setting]:
    """Return the settings of a record and of the records within it, by the key's path in the TOML file."""
    settings: dict[tuple[str, ...], Setting] = {(name,): kind for name, kind in settings_of(record).items()}
    for name, inner in get_type_hints(record).items():
        if isinstance(inner, type) and hasattr(inner, "_fields"):
            settings |= {(name, *path): kind for path, kind in scalar_settings(inner).items()}
    return settings


def read_values(table: Table, settings: dict[str, Setting], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the value of each setting; None, and a problem, for one that is wrong or missing."""
    return {
        name: kind.read(table, name, defaults.get(name))  # type: ignore[arg-type]  # of the field's type
        for name, kind in settings.items()
        if not isinstance(kind, CustomSetting)
    }


def all_valid(settings: dict[str, Setting], values: dict[str, Any]) -> bool:
    """Whether every value is there; an integer that may be left out can be None.

    A wrong one is None, too, but then its problem refuses the whole configuration.
    """
    return all(
        values[name] is not None or (isinstance(kind, Integer) and kind.optional)
        for name, kind in settings.items()
        if name in values
    )


def read_record(table: Table, record: type[Record]) -> Record | None:
    """Return a record that consists of scalar settings only; None if a value is wrong."""
    defaults = record._field_defaults  # type: ignore[attr-defined]  # every record is a NamedTuple
    settings = settings_of(record)
    values = read_values(table, settings, defaults)
    table.close()
    return record(**values) if all_valid(settings, values) else None
