"""A plausible day of a small PV system, for trials. Pure: depends only on the time of day and the seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, RegisterMap

DAY_SECONDS = 86400
_SUNRISE, _SUNSET = 6 * 3600, 18 * 3600
_CLEAR_SKY = 1000.0  # W/m², standard test conditions
_PEAK_POWER = 333.0  # W at standard test conditions
_TEMPERATURE_COEFFICIENT = -0.004  # of the power, per °C above 25; typical of crystalline silicon
_CELL_HEATING = 0.03  # °C per W/m²
_INVERTER_EFFICIENCY = 0.9615
_CLOUDS = 9


@dataclass(frozen=True, slots=True)
class _Cloud:
    middle: float
    half_width: float
    """Seconds."""
    depth: float
    """Share of the light that it blocks, 0 to 1."""

    def shade(self, second: float) -> float:
        return self.depth * math.exp(-(((second - self.middle) / self.half_width) ** 2))


class PvDay:
    """The measurements of a PV system over a day; the same seed gives the same clouds."""

    def __init__(self, seed: int = 0) -> None:
        dice = random.Random(seed)  # noqa: S311 - weather, not a secret
        self._clouds = [
            _Cloud(dice.uniform(_SUNRISE, _SUNSET), dice.uniform(240, 1500), dice.uniform(0.2, 0.7))
            for _ in range(_CLOUDS)
        ]

    def values(self, second: float) -> dict[str, float]:
        """Return the measurements at a second of the day, by their names in the PV map and in its units."""
        second %= DAY_SECONDS
        share = (second - _SUNRISE) / (_SUNSET - _SUNRISE)
        height = math.sin(math.pi * share) if 0 < share < 1 else 0.0
        light = math.prod(1 - cloud.shade(second) for cloud in self._clouds)
        irradiance = _CLEAR_SKY * height**1.2 * light
        # The air is coldest at 3:00 and warmest at 15:00.
        ambient = 15 + 6 * math.sin(math.pi * (second - 9 * 3600) / (12 * 3600))
        cell = ambient + _CELL_HEATING * irradiance
        power = _PEAK_POWER * irradiance / 1000 * (1 + _TEMPERATURE_COEFFICIENT * (cell - 25))
        voltage = 49.0 - 0.1 * (cell - 25) + 1.5 * (height - 1) if height else 0.0
        return {
            "P_ac": power * _INVERTER_EFFICIENCY,
            "P_dc": power,
            "V_dc": voltage,
            "I_dc": power / voltage if voltage else 0.0,
            "G": irradiance,
            "T_cell": cell,
        }

    def registers(self, register_map: RegisterMap, second: float, timestamp: int) -> list[int]:
        """Return the registers of a map's whole span.

        Measurements that are not in the PV map follow the irradiance, too. timestamp: Unix seconds.
        """
        known = self.values(second)
        sun = known["G"] / _CLEAR_SKY
        values: dict[str, float] = {}
        for measurement in register_map.measurements:
            if measurement.type is DataType.TIMESTAMP:
                values[measurement.name] = timestamp
            else:
                value = _fitting(measurement, known.get(measurement.name, 100 * sun))
                if value is not None:
                    values[measurement.name] = value
        return register_map.encode(values)


def _fitting(measurement: Measurement, value: float) -> float | None:
    """Return the nearest value that is in the measurement's range and fits in its registers.

    None if there is none: scale and offset can put the whole range beyond what the registers can hold.
    """
    low = -math.inf if measurement.minimum is None else measurement.minimum
    high = math.inf if measurement.maximum is None else measurement.maximum
    limits = measurement.type.limits
    if limits is not None:
        low, high = (
            max(low, limits[0] / measurement.scale + measurement.offset),
            min(high, limits[1] / measurement.scale + measurement.offset),
        )
    fitting = min(max(value, low), high)
    try:
        measurement.encode(fitting)
    except ValueError:
        return None
    return fitting
