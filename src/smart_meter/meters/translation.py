"""Takes the values of one register map over to another. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from smart_meter.registers.register_map import Measurement, RegisterMap


def translate(
    earlier: RegisterMap, registers: Sequence[int], known: frozenset[int], later: RegisterMap
) -> dict[int, int]:
    """Return the registers of `later` whose values were sent under `earlier`, by address.

    Each measurement keeps its value, by its name. What the new registers can't hold exactly is left out, and
    so is what has another unit now. registers: the whole span of `earlier`. known: those that were sent.
    """
    named = {measurement.name: measurement for measurement in earlier.measurements}
    translated: dict[int, int] = {}
    for measurement in later.measurements:
        before = named.get(measurement.name)
        if before is None or not known >= set(range(before.address, before.end)):
            continue
        first = before.address - earlier.start
        encoded = _encoded(before, registers[first : first + before.width], measurement)
        if encoded is not None:
            translated.update(enumerate(encoded, measurement.address))
    return translated


def _encoded(before: Measurement, registers: Sequence[int], after: Measurement) -> list[int] | None:
    if before.unit != after.unit or (before.sentinel_registers() is None) != (
        after.sentinel_registers() is None
    ):
        return None
    if before.is_no_value(registers):
        # "No value" stays so, if the new measurement has a number for it.
        return None if after.no_value_number is None else after.sentinel_registers()
    value = _exact(before, registers)
    try:
        encoded = after.encode(before.decode(registers))
    except ValueError:
        return None
    if value is None or _exact(after, encoded) != value or after.is_no_value(encoded):
        return None
    return encoded


def _exact(measurement: Measurement, registers: Sequence[int]) -> Fraction | None:
    """Return a value without rounding; None if it is not a finite number."""
    plain = measurement._replace(scale=1, offset=0)
    stored = plain.decode(registers)
    if not math.isfinite(stored):
        return None
    return Fraction(stored) / Fraction(str(measurement.scale)) + Fraction(str(measurement.offset))
