"""Reload of the configuration: the service reads it, and `smart-meter reload` waits for the result.

On SIGHUP, `Service._reload` calls `Reload.read` here, and `Service._apply` applies what it returns.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from smart_meter.config import Config, ConfigError, load
from smart_meter.config.small_file import read_small
from smart_meter.config.toml_table import Problem

RESULT = "reload.json"
RUNNING = "config.toml"
"""A copy of the file that the service runs with, beside the result."""


class Reload:
    """One reload in the service: the file that is read, and its result."""

    def __init__(self, source: Path | None, runtime: Path | None, adapt: Callable[[Config], Config]) -> None:
        self._source = source
        self._runtime = runtime
        self._adapt = adapt
        self.problems: list[str] = []

    def read(self, running: Config) -> Config | None:
        """Return the new configuration, or None if it has problems: then the running one stays."""
        if self._source is None:
            self.problems = ["the service was started without a configuration file; start it with --config"]
            return None
        try:
            config = self._adapt(load(self._source))
            check_changes(config, running, str(self._source))
        except ConfigError as error:
            self.problems = [str(problem) for problem in error.problems]
            return None
        return config

    @property
    def text(self) -> str:
        """Return the line that is logged."""
        if not self.problems:
            return f"[RELOADED] {self._source}"
        return "\n".join(
            ["[NOT RELOADED] the running configuration stays", *(f"  {problem}" for problem in self.problems)]
        )

    def publish(self) -> None:
        """Write the result to the runtime directory, where `smart-meter reload` waits for it."""
        if self._runtime is None:
            return
        try:
            if self._source is not None and not self.problems:
                (self._runtime / f".{RUNNING}").write_bytes(self._source.read_bytes())
                (self._runtime / f".{RUNNING}").replace(self._runtime / RUNNING)
            record = {"pid": os.getpid(), "at": time.monotonic_ns(), "problems": self.problems}
            (self._runtime / f".{RESULT}").write_text(json.dumps(record))
            (self._runtime / f".{RESULT}").replace(self._runtime / RESULT)
        except OSError:
            # `smart-meter reload` reports that it got no result; the service continues.
            return


def check_changes(config: Config, running: Config, source: str) -> None:
    """Raise ConfigError if a setting differs that can't change while the service runs."""
    problems = [
        Problem(
            source, f"server.{key}", f"can't change from {old} to {new} while the service runs; restart it"
        )
        for key, old, new in (
            ("host", running.server.host, config.server.host),
            ("port", running.server.port, config.server.port),
        )
        if old != new
    ]
    if problems:
        raise ConfigError(problems)


def read_result(runtime: Path, pid: int, since: int) -> list[str] | None:
    """Return the problems of a service's last reload, or None if it has not finished.

    since: monotonic nanoseconds; an earlier result is ignored.
    """
    try:
        record = json.loads(read_small(runtime / RESULT, follow=False))
    except (OSError, ValueError, RecursionError):
        return None
    match record:
        case {"pid": of, "at": int(at), "problems": list(problems)} if of == pid and at >= since:
            return [str(problem) for problem in problems]
    return None
