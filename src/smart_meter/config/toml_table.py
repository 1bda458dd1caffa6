"""Reads TOML tables key by key and collects all problems, so that one run reports them all."""

from __future__ import annotations

import errno
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from smart_meter.config.small_file import read_small

_MAX_SHOWN = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_POSITION = re.compile(r"(?P<message>.*) \(at (?P<place>line \d+, column \d+|end of document)\)\Z", re.DOTALL)


class Problem(NamedTuple):
    """One thing that is wrong: the file, the key path (or line, for a syntax error), what, and the fix."""

    source: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.key, self.message) if part)


def show(value: object) -> str:
    """Return a value for a message: on one line, escaped, shortened if it is long."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=not value.isprintable())
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int) and abs(value) >= 10**_MAX_SHOWN:
        # Python refuses to print an integer of some thousand digits; TOML can have one in hexadecimal.
        text = f"an integer of {value.bit_length()} bits"
    elif isinstance(value, list | dict):
        text = _show_container(value)
    else:
        text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _show_container(value: list[Any] | dict[str, Any]) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # It contains such an integer, or is nested too deeply.
        text = ""
    if text.isprintable() and 0 < len(text) <= _MAX_SHOWN:
        return text
    return f"a {'list' if isinstance(value, list) else 'table'} of {len(value)}"


def show_key(key: str) -> str:
    """Return a key as TOML would write it."""
    return key if _BARE_KEY.match(key) else show(key)


def one_of(names: Sequence[str]) -> str:
    """Return `"read" or "read-write"` for the two names."""
    shown = [show(name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def read_toml(path: Path, problems: list[Problem]) -> str | None:
    """Return the text of a file, or None and a problem if it can't be read."""
    source = str(path)
    try:
        data = read_small(path)
    except FileNotFoundError:
        problems.append(Problem(source, "", "there is no such file; create it, or name another"))
    except IsADirectoryError:
        problems.append(Problem(source, "", "is a directory; name the TOML file in it"))
    except OSError as error:
        message = f"can't be read ({error.strerror}); check its owner and mode with `ls -l`"
        if error.errno == errno.EFBIG:
            message = "is over 1 MiB long; a configuration has some kilobytes"
        problems.append(Problem(source, "", message))
    else:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
            problems.append(Problem(source, f"line {line}", message))
    return None


def parse_toml(text: str, source: str, problems: list[Problem]) -> dict[str, Any] | None:
    """Return the document's table, or None and a problem with the line if it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _POSITION.match(str(error))
        message, place = (match["message"], match["place"]) if match else (str(error), "")
        problems.append(Problem(source, place, f"is not TOML: {message}; see https://toml.io"))
    except (ValueError, RecursionError) as error:
        # Integers of thousands of digits and brackets nested by the thousand.
        problems.append(Problem(source, "", f"is not TOML that can be read: {error}"))
    return None


class Table:
    """One TOML table; each reading method returns None and adds a problem if the value is wrong."""

    def __init__(self, source: str, path: str, data: dict[str, Any], problems: list[Problem]) -> None:
        self.source = source
        self.path = path
        self.data = data
        self.problems = problems
        self._known: list[str] = []

    def key(self, name: str) -> str:
        """Return the path of a key in this table, such as `zones[0].network`."""
        return f"{self.path}.{show_key(name)}" if self.path else show_key(name)

    def problem(self, name: str, message: str) -> None:
        """Add a problem with a key, or with the table itself if the name is empty."""
        self.problems.append(Problem(self.source, self.key(name) if name else self.path, message))

    def text(self, name: str, default: str | None, pattern: re.Pattern[str], hint: str) -> str | None:
        """Return a string that matches the pattern; `hint` describes what is accepted."""
        value = self._value(name, default, hint)
        if value is None:
            return None
        if not isinstance(value, str):
            self.problem(name, f"{show(value)} is not a string; give {hint}")
            return None
        if not value.isprintable() or not pattern.fullmatch(value):
            self.problem(name, f"{show(value)} can't be used; give {hint}")
            return None
        return value

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str | None:
        """Return one of the allowed strings."""
        value = self._value(name, default, one_of(allowed))
        if value in allowed and isinstance(value, str):
            return value
        self.problem(name, f"{show(value)} is unknown; give {one_of(allowed)}{_near(value, allowed)}")
        return None

    def integer(self, name: str, default: int | None, low: int, high: int, hint: str = "") -> int | None:
        """Return an integer from low to high, both included."""
        hint = hint or f"an integer from {low} to {high}"
        value = self._value(name, default, hint)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(name, f"{show(value)} is not an integer; give {hint}")
            return None
        if not low <= value <= high:
            self.problem(name, f"{show(value)} is out of range; give {hint}")
            return None
        return value

    def number(self, name: str, default: float, low: float, high: float, hint: str) -> float | None:
        """Return an integer or float from low to high; not-a-number and the infinities are out of range."""
        value = self._value(name, default, hint)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problem(name, f"{show(value)} is not a number; give {hint}")
            return None
        if not low <= value <= high:
            self.problem(name, f"{show(value)} is out of range; give {hint}")
            return None
        return value

    def optional_number(self, name: str, low: float, high: float, hint: str) -> float | None:
        """Return the number as `number` does, or None, without a problem, if the key is left out."""
        self._known.append(name)
        return self.number(name, 0, low, high, hint) if name in self.data else None

    def optional_integer(self, name: str, low: int, high: int, hint: str) -> int | None:
        """Return the integer as `integer` does, or None, without a problem, if the key is left out."""
        self._known.append(name)
        return self.integer(name, 0, low, high, hint) if name in self.data else None

    def seconds(self, name: str, default: float, low: float, high: float, zero: str) -> float | None:
        """Return seconds from low to high, or 0, which means something else: `zero` describes what."""
        hint = f"seconds from {low:g} to {high:.10g}, or 0 {zero}"
        # 0 switches something off, so it is not part of the range.
        if self.data.get(name, default) == 0:
            low = high = 0
        return self.number(name, default, low, high, hint)

    def boolean(self, name: str, default: bool | None, hint: str) -> bool | None:
        """Return true or false; the default if the key is left out."""
        value = self.anything(name)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.problem(name, f"{show(value)} is neither true nor false; give {hint}")
        return None

    def anything(self, name: str) -> Any:
        """Return the value unchanged, or None if the key is left out."""
        self._known.append(name)
        return self.data.get(name)

    def listing(self, name: str, hint: str) -> list[Any]:
        """Return a list of anything; an empty one if it is left out or not a list."""
        value = self._value(name, [], hint)
        if not isinstance(value, list):
            self.problem(name, f"{show(value)} is not a list; give {hint}")
            return []
        return value

    def table(self, name: str) -> Table:
        """Return a table within this one; an empty one if it is left out."""
        value = self._value(name, {}, "a table")
        if not isinstance(value, dict):
            self.problem(name, f"{show(value)} is not a table; write [{self.key(name)}]")
            value = {}
        return Table(self.source, self.key(name), value, self.problems)

    def tables(self, name: str) -> list[Table] | None:
        """Return the tables of an array, or None if the key is left out or not an array of tables."""
        self._known.append(name)
        if name not in self.data:
            return None
        value = self.data[name]
        if not isinstance(value, list):
            self.problem(
                name, f"{show(value)} is not a list of tables; write [[{self.key(name)}]] above each"
            )
            return None
        if not value:
            self.problem(name, f"is empty; give at least one [[{self.key(name)}]], or leave the key out")
            return None
        tables = []
        for index, entry in enumerate(value):
            path = f"{self.key(name)}[{index}]"
            if isinstance(entry, dict):
                tables.append(Table(self.source, path, entry, self.problems))
            else:
                message = f"{show(entry)} is not a table; write [[{self.key(name)}]]"
                self.problems.append(Problem(self.source, path, message))
        return tables

    def close(self) -> None:
        """Add a problem for every key of the table that was not read."""
        for name in self.data:
            if name not in self._known:
                keys = f"; known here: {', '.join(dict.fromkeys(self._known))}"
                self.problem(name, f"is an unknown key{_near(name, self._known) or keys}")

    def _value(self, name: str, default: Any, hint: str) -> Any:
        self._known.append(name)
        if name in self.data:
            return self.data[name]
        if default is None:
            self.problem(name, f"is missing; give {hint}")
        return default


def _near(value: object, names: Sequence[str]) -> str:
    if not isinstance(value, str):
        return ""
    import difflib  # noqa: PLC0415 - only if there is a mistake: the service starts without it

    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(value.casefold(), folded, n=1)
    return f"; did you mean {show(folded[near[0]])}?" if near else ""
