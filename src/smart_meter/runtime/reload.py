"""A new configuration for a service that runs: read by the service, asked for and waited for by `reload`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from smart_meter.config import Config, ConfigError, load
from smart_meter.config.small_file import read_small
from smart_meter.config.toml_table import ConfigProblem

OUTCOME = "reload.json"
ADOPTED = "config.toml"
"""A copy of what the service runs with, beside the outcome."""


class Reload:
    """One reload, as the service sees it: what was read, and what is told of it."""

    def __init__(self, source: Path | None, runtime: Path | None, adapt: Callable[[Config], Config]) -> None:
        self._source = source
        self._runtime = runtime
        self._adapt = adapt
        self.problems: list[str] = []

    def read(self, running: Config) -> Config | None:
        """Return the new configuration, or None where the old one stays."""
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
        """Return what the journal is told."""
        if not self.problems:
            return f"[RELOADED] {self._source}"
        return "\n".join(
            ["[NOT RELOADED] the running configuration stays", *(f"  {problem}" for problem in self.problems)]
        )

    def tell(self) -> None:
        """Write the outcome where `reload` waits for it."""
        if self._runtime is None:
            return
        try:
            if self._source is not None and not self.problems:
                (self._runtime / f".{ADOPTED}").write_bytes(self._source.read_bytes())
                (self._runtime / f".{ADOPTED}").replace(self._runtime / ADOPTED)
            record = {"pid": os.getpid(), "at": time.monotonic_ns(), "problems": self.problems}
            (self._runtime / f".{OUTCOME}").write_text(json.dumps(record))
            (self._runtime / f".{OUTCOME}").replace(self._runtime / OUTCOME)
        except OSError:
            # Whoever waits for it will say that nothing came; the service itself goes on.
            return


def check_changes(config: Config, running: Config, source: str) -> None:
    """Refuse what can't change while the service runs. Raises ConfigError."""
    problems = [
        ConfigProblem(
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


def outcome(runtime: Path, pid: int, since: int) -> list[str] | None:
    """Return the problems of the reload that a service has finished, or None where it has not yet.

    since: monotonic nanoseconds; what was told before does not count.
    """
    try:
        record = json.loads(read_small(runtime / OUTCOME))
    except (OSError, ValueError, RecursionError):
        return None
    match record:
        case {"pid": of, "at": int(at), "problems": list(problems)} if of == pid and at >= since:
            return [str(problem) for problem in problems]
    return None
