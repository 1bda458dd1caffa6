"""Checks a JSON value against a dataclass: types, patterns, ranges and lengths. Pure.

An answer of a Pi may be wrong or hostile, and its texts reach command lines, files and the terminal. A field
is declared as a type, if need be with what its value has to be:

    name: Annotated[str, "[a-z]+"]        a pattern for the whole text; without one, any text of one line
    port: Annotated[int, range(65536)]    the numbers that it may be
    names: list[str]                      at most MAX_ENTRIES; also dict, tuple, | None, Literal, dataclasses
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from roles.preflight.look.reading import MAX_TEXT, UNPRINTABLE
from roles.preflight.rules.problem import show

MAX_ENTRIES = 20_000
MAX_ANSWER = 8 * 1024 * 1024
Built = TypeVar("Built")


class AnswerError(ValueError):
    """A value that can't be what it claims to be; the message begins with its place in the answer."""


def load(text: str) -> Any:
    """Return the JSON value of a text. Raises AnswerError."""
    if len(text) > MAX_ANSWER:
        raise AnswerError(f"the answer has {len(text)} characters, and at most {MAX_ANSWER} are read")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise AnswerError(f"the answer is not JSON ({show(reason)}): {show(text)}") from None


def build(kind: type[Built], value: object, place: str = "") -> Built:
    """Return a dataclass with the values of a JSON object. Raises AnswerError."""
    built: Built = _check(kind, value, place)
    return built


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _check(kind: Any, value: object, place: str) -> Any:
    """Return the value as the type declares it."""
    rule: Any = None
    if get_origin(kind) is Annotated:
        kind, rule = get_args(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, place)
    if origin is Literal:
        # True is equal to 1.
        if isinstance(value, bool | float) or value not in arguments:
            raise _wrong(place, value, f"none of {', '.join(map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, place)
    if origin in (list, tuple, dict):
        return _container(origin, arguments, value, place)
    return _plain(kind, rule, value, place)


def _object(kind: Any, value: object, place: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(place, value, "not an object")
    hints = _hints(kind)
    for name in value:
        if name not in hints:
            raise _wrong(place, name, "not a field of the answer")
    for name in hints:
        if name not in value:
            raise AnswerError(f"{_join(place, name)} is missing")
    return kind(**{name: _check(hint, value[name], _join(place, name)) for name, hint in hints.items()})


def _one_of(kinds: tuple[Any, ...], value: object, place: str) -> Any:
    failure: AnswerError | None = None
    for kind in kinds:
        try:
            return _check(kind, value, place)
        except AnswerError as error:
            failure = failure or error
    raise failure or _wrong(place, value, "not expected")


def _container(origin: type, arguments: tuple[Any, ...], value: object, place: str) -> Any:
    if not isinstance(value, dict if origin is dict else list):
        raise _wrong(place, value, "not an object" if origin is dict else "not a list")
    if len(value) > MAX_ENTRIES:
        raise AnswerError(f"{place} has {len(value)} entries, and at most {MAX_ENTRIES} are read")
    if isinstance(value, dict):
        key_kind, kind = arguments
        return {
            _check(key_kind, key, place): _check(kind, inner, _join(place, show(key)))
            for key, inner in value.items()
        }
    if origin is list:
        return [_check(arguments[0], inner, f"{place}[{index}]") for index, inner in enumerate(value)]
    if len(value) != len(arguments):
        raise _wrong(place, value, f"not a list of {len(arguments)}")
    return tuple(
        _check(kind, inner, f"{place}[{index}]")
        for index, (kind, inner) in enumerate(zip(arguments, value, strict=True))
    )


def _plain(kind: Any, rule: Any, value: object, place: str) -> Any:
    if kind is str:
        if not isinstance(value, str):
            raise _wrong(place, value, "not a text")
        if rule is None and (len(value) > MAX_TEXT or UNPRINTABLE.search(value)):
            raise _wrong(place, value, "not a line of text")
        if rule is not None and not re.fullmatch(rule, value, re.ASCII):
            raise _wrong(place, value, "not what this field can be")
    elif kind is type(None):
        if value is not None:
            raise _wrong(place, value, "not null")
    elif kind is bool:
        if not isinstance(value, bool):
            raise _wrong(place, value, "not true or false")
    elif isinstance(value, bool) or not isinstance(value, int | float if kind is float else int):
        raise _wrong(place, value, "not a number")
    elif not math.isfinite(value) or (rule is not None and not rule.start <= value < rule.stop):
        raise _wrong(place, value, "out of range")
    return float(value) if kind is float and isinstance(value, int | float) else value


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _wrong(place: str, value: object, why: str) -> AnswerError:
    return AnswerError(f"{place or 'the answer'} is {show(value)}, which is {why}")
