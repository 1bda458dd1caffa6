"""`smart-meter check-config`: report every problem of configuration files."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from smart_meter.config import Config, ConfigError, load


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if every file is valid, otherwise 2."""
    results: dict[str, Config | ConfigError] = {}
    for path in arguments.files:
        try:
            results[path] = load(path)
        except ConfigError as error:
            results[path] = error
    if arguments.json:
        print(json.dumps({path: _record(result) for path, result in results.items()}, ensure_ascii=False))
    else:
        for path, result in results.items():
            if isinstance(result, ConfigError):
                print(result, file=sys.stderr)
            else:
                print(f"{path}: ok, {_summary(result)}")
    return 2 if any(isinstance(result, ConfigError) for result in results.values()) else 0


def _summary(config: Config) -> str:
    zones = ", ".join(f"{zone.name} {zone.network} {zone.access.value}" for zone in config.zones)
    meters = ", ".join(f"{meter.name} (unit {meter.unit_id})" for meter in config.meters)
    return f"{config.server.host}:{config.server.port}; zones: {zones}; meters: {meters}"


def _record(result: Config | ConfigError) -> dict[str, Any]:
    if isinstance(result, ConfigError):
        problems = [{"key": problem.key, "message": problem.message} for problem in result.problems]
        return {"problems": problems, "zones": [], "meters": []}
    zones = [
        {
            "name": zone.name,
            "peer": zone.peer,
            "interface": zone.interface,
            "address": str(zone.address),
            "network": str(zone.network),
            "access": zone.access.value,
        }
        for zone in result.zones
    ]
    meters = [
        {
            "name": meter.name,
            "unit_id": meter.unit_id,
            "first_register": meter.map.start,
            "last_register": meter.map.end - 1,
            "measurements": [measurement.name for measurement in meter.map.measurements],
        }
        for meter in result.meters
    ]
    return {"problems": [], "zones": zones, "meters": meters}
