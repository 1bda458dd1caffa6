"""`smart-meter map`: print the register map as a document."""

from __future__ import annotations

import argparse
import io
import sys

from smart_meter import config
from smart_meter.map_document import IdentifierError, render


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 if the map was printed, 2 for an invalid configuration or a meter that is not in it."""
    try:
        meters = config.Config().meters if arguments.config is None else config.load(arguments.config).meters
    except config.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    chosen = [meter for meter in meters if arguments.meter in (None, meter.name)]
    if not chosen:
        known = ", ".join(meter.name for meter in meters)
        print(f"--meter {arguments.meter}: no such meter; give one of {known}", file=sys.stderr)
        return 2
    try:
        text = render(arguments.format, meters, chosen)
    except IdentifierError as error:
        print(f"{arguments.config or 'the default configuration'}: {error}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The encoding must not depend on the locale, and CSV has its own line ends.
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    print(text, end="")
    return 0
