"""Chooses the format of the log by the configuration."""

from __future__ import annotations

from collections.abc import Callable

from smart_meter.config import Config, LogFormat
from smart_meter.log.formatter import LogFormatter
from smart_meter.log.json_formatter import JsonFormatter
from smart_meter.log.text_formatter import TextFormatter


def make_formatter(config: Config, wall: Callable[[], float]) -> LogFormatter:
    """Return the formatter that the configuration selects. wall: a clock of Unix seconds."""
    if config.journal.format is LogFormat.JSON:
        return JsonFormatter(config, wall)
    return TextFormatter(config)
