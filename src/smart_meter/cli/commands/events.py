"""`smart-meter events`: the audit trail."""

from __future__ import annotations

import argparse

from smart_meter.cli.commands import events_add


def execute(arguments: argparse.Namespace) -> int:
    """Return the action's exit code."""
    return events_add.execute(arguments)
