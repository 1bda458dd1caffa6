"""`smart-meter simulate`: simulate an ESP32 that writes a PV day, or an Opta that reads it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import datetime

from smart_meter.cli.client import Client, UnreachableError
from smart_meter.cli.simulator import DAY_SECONDS, PvDay
from smart_meter.cli.target import run_client
from smart_meter.config import MeterConfig
from smart_meter.meters.sample import iso_time
from smart_meter.registers.data_types import MAX_UINT32, DataType
from smart_meter.registers.register_map import Measurement, RegisterMap

FIRST_SECOND = 10 * 3600
"""The simulated day begins in mid-morning, so that the first values are not all zero."""
PLAUSIBLE_AGE = 3600.0
"""Seconds; if a timestamp differs more than this from now, the clocks differ and the age is unknown."""


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 after `--count` samples, 1 if the server replies with an exception."""

    def command(client: Client, meter: MeterConfig) -> int:
        peer = arguments.peer
        if peer == "esp32":
            exchange = _esp32(client, meter.map, PvDay(arguments.seed), arguments.speed, arguments.start)
        else:
            exchange = _opta(client, meter.map)
        _repeat(peer.upper() if peer == "esp32" else "Opta", exchange, arguments.interval, arguments.count)
        return 0

    arguments.target = arguments.to
    return run_client(command, arguments)


def _repeat(peer: str, exchange: Callable[[], str], interval: float, count: int | None) -> None:
    """Exchange `count` samples (None: unlimited), one per interval; wait for an unreachable server."""
    done = 0
    away = False
    due = time.monotonic()
    while True:
        try:
            line = exchange()
        except UnreachableError as error:
            if not away:
                print(f"{peer}: {error}; trying again every {interval:g} s", flush=True)
            away = True
        else:
            if away:
                print(f"{peer}: connected again", flush=True)
            away = False
            print(line, flush=True)
            done += 1
            if done == count:
                return
        # Missed samples are not made up for: they would flood a server that has just come back.
        now = time.monotonic()
        due = max(due + interval, now)
        time.sleep(due - now)


def _esp32(
    client: Client, register_map: RegisterMap, day: PvDay, speed: float, start: datetime | None
) -> Callable[[], str]:
    began = time.monotonic()

    def write() -> str:
        passed = (time.monotonic() - began) * speed
        if start is None:
            # Real timestamps, although the simulated sun is faster: readers see the values' real age.
            timestamp, second = int(time.time()), FIRST_SECOND + passed
        else:
            timestamp = min(int(start.timestamp() + passed), MAX_UINT32)
            second = timestamp % DAY_SECONDS
        registers = day.registers(register_map, second, timestamp)
        client.write_map(register_map, registers)
        return f"ESP32 wrote {_decoded(register_map, registers)}"

    return write


def _opta(client: Client, register_map: RegisterMap) -> Callable[[], str]:
    last: list[int] = []
    changed = time.monotonic()

    def read() -> str:
        nonlocal last, changed
        registers = client.read_map(register_map)
        if registers != last:
            last, changed = registers, time.monotonic()
        timestamp = register_map.timestamp
        measured = register_map.decode(registers)[timestamp.name] if timestamp else 0
        age = time.time() - measured
        age_text = (
            f"age {max(age, 0.0):.1f} s"
            if abs(age) <= PLAUSIBLE_AGE
            else f"unchanged for {time.monotonic() - changed:.1f} s"
        )
        return f"Opta read {_decoded(register_map, registers)} | {age_text}"

    return read


def _decoded(register_map: RegisterMap, registers: list[int]) -> str:
    values = register_map.decode(registers)
    shown = " ".join(
        f"{measurement.name}={_shown(register_map, measurement, registers, values[measurement.name])}"
        for measurement in register_map.measurements
        if measurement.type is not DataType.TIMESTAMP
    )
    timestamp = register_map.timestamp
    return f"{iso_time(values[timestamp.name])} | {shown}" if timestamp else shown


def _shown(register_map: RegisterMap, measurement: Measurement, registers: list[int], value: float) -> str:
    own = registers[measurement.address - register_map.start : measurement.end - register_map.start]
    nothing = measurement.is_sentinel(own) or measurement.is_no_value(own)
    return "-" if nothing else measurement.format(value)
