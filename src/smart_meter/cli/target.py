"""Shared by the client commands: which meter to ask, and how errors are reported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from smart_meter.cli.client import Client, ClientError
from smart_meter.config import Config, ConfigError, MeterConfig, load


class ArgumentsError(Exception):
    """The arguments can't be used together; the message explains why."""


def meter(arguments: argparse.Namespace) -> MeterConfig:
    """Return the meter selected by `--config` and `--unit`. Raises ConfigError or ArgumentsError."""
    unit_id: int | None = arguments.unit
    if arguments.config is None:
        default = Config().meters[0]
        return default if unit_id is None else MeterConfig(default.name, unit_id, default.map)
    meters = load(arguments.config).meters
    if unit_id is None:
        return meters[0]
    for candidate in meters:
        if candidate.unit_id == unit_id:
            return candidate
    known = ", ".join(str(candidate.unit_id) for candidate in meters)
    raise ArgumentsError(f"--unit {unit_id}: no meter in {arguments.config} has it; give one of {known}")


def run_client(command: Callable[[Client, MeterConfig], int], arguments: argparse.Namespace) -> int:
    """Run a command with a client for its target, and return its exit code.

    Errors go to stderr: 1 for a failed request, 2 for an invalid configuration or arguments.
    """
    try:
        chosen = meter(arguments)
        host, port = arguments.target
        with Client(host, port, chosen.unit_id, arguments.timeout) as client:
            return command(client, chosen)
    except ClientError as error:
        print(f"smart-meter: {error}", file=sys.stderr)
        return 1
    except (ConfigError, ArgumentsError) as error:
        print(error, file=sys.stderr)
        return 2
