"""`smart-meter events`: the audit trail."""

from __future__ import annotations

import argparse
import sys

from smart_meter.cli.commands import events_add


def execute(arguments: argparse.Namespace) -> int:
    """Return the action's exit code."""
    if arguments.action is None:
        print("smart-meter: events: give add or send-waiting", file=sys.stderr)
        return 2
    return events_add.execute(arguments)
