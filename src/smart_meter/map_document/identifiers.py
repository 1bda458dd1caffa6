"""Names of meters and measurements as identifiers for C, C++ and PLCs.

Characters that an identifier can't have become `_`. If several names would become the same identifier, each
gets a suffix that is unique: a measurement its address, a meter its unit identifier. So an identifier never
depends on the order of the configuration.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from smart_meter.config import MeterConfig
from smart_meter.registers.register_map import RegisterMap


class IdentifierError(Exception):
    """Two names would be the same identifier; the text names both and the fix."""


# A structure's member must not be a keyword, nor a macro of headers that are usually included.
_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile
    while
    alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept bitand bitor bool catch char8_t
    char16_t char32_t class compl concept consteval constexpr constinit const_cast co_await co_return co_yield
    decltype delete dynamic_cast explicit export false friend module mutable namespace new noexcept not not_eq
    nullptr operator or or_eq private protected public reflexpr reinterpret_cast requires static_assert
    static_cast synchronized template this thread_local throw true try typeid typename typeof using virtual
    wchar_t xor xor_eq
"""
_MACROS = """
    linux unix i386 arm mips sparc sun vax I NULL EOF NAN INFINITY HUGE_VAL errno stdin stdout stderr assert
    DEC HEX OCT BIN PI HALF_PI TWO_PI DEG_TO_RAD RAD_TO_DEG EULER HIGH LOW INPUT OUTPUT INPUT_PULLUP
    INPUT_PULLDOWN OPEN_DRAIN CHANGE RISING FALLING LSBFIRST MSBFIRST SERIAL DISPLAY DEFAULT EXTERNAL INTERNAL
    ANALOG DISABLED ENABLED OFF ON SDA SCL SS MOSI MISO SCK RX TX LED_BUILTIN F_CPU ARDUINO ESP32 OPTA
    boolean byte word min max abs round constrain radians degrees sq bit cli sei interrupts noInterrupts
"""
_RESERVED = frozenset((_KEYWORDS + _MACROS).split())
_PINS_AND_BITS = re.compile(r"[ADP]\d{1,3}|B[01]{1,8}")  # Arduino.h's A0, D1, B01010101.


def meter_identifiers(meters: Sequence[MeterConfig]) -> dict[str, str]:
    """Return each meter's identifier by its name. Raises IdentifierError."""
    named = {meter.name: (_identifier(meter.name), f"unit_{meter.unit_id}") for meter in meters}
    return _made_unique(named, "meter")


def measurement_identifiers(register_map: RegisterMap) -> dict[str, str]:
    """Return each measurement's identifier by its name; it can be a member's name. Raises IdentifierError."""
    named = {m.name: (_member(m.name), f"at_{m.address}") for m in register_map.measurements}
    return _made_unique(named, "measurement")


class Claims:
    """The identifiers of one document, each with its owner."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def claim(self, identifier: str, owner: str) -> str:
        """Return the identifier. Raises IdentifierError if another owner has it."""
        other = self._taken.setdefault(identifier, owner)
        if other != owner:
            raise IdentifierError(f"{identifier} would stand for {other} and for {owner}; rename one of them")
        return identifier


def _made_unique(named: dict[str, tuple[str, str]], kind: str) -> dict[str, str]:
    """Return an identifier for each name, with its suffix if it needs one.

    Names are compared in capitals and without a trailing underscore, as constants are written.
    """
    uses = Counter(_bare(identifier) for identifier, _ in named.values())
    result: dict[str, str] = {}
    claims = Claims()
    for name, (identifier, suffix) in named.items():
        if uses[_bare(identifier)] > 1:
            identifier = f"{identifier.rstrip('_')}_{suffix}"  # noqa: PLW2901 - the same identifier, made longer.
        claims.claim(_bare(identifier), f'{kind} "{name}"')
        result[name] = identifier
    return result


def _bare(identifier: str) -> str:
    return identifier.upper().rstrip("_")


def _identifier(name: str) -> str:
    # Two underscores side by side are reserved in C++.
    identifier = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_]", "_", name)).strip("_")
    return identifier if identifier[:1].isalpha() else f"x_{identifier}"


def _member(name: str) -> str:
    identifier = _identifier(name)
    if identifier in _RESERVED or _PINS_AND_BITS.fullmatch(identifier):
        return f"{identifier}_"
    return identifier
