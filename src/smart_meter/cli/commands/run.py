"""`smart-meter run`: run the concentrator until a signal stops it."""

from __future__ import annotations

import argparse
import os
import resource
import sys
from functools import partial
from pathlib import Path

from smart_meter import config
from smart_meter.net.listen import TRIAL_PORT, ListenError, inherited
from smart_meter.runtime.service import Options, serve


def execute(arguments: argparse.Namespace) -> int:
    """Return 0 when stopped, 1 if the port can't be opened, 2 for an invalid configuration."""
    _keep_standard_descriptors()
    try:
        loaded = config.Config() if arguments.config is None else config.load(arguments.config)
    except config.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    _allow_many_connections()
    adapt = partial(_adapt, arguments=arguments)
    runtime = os.environ.get("RUNTIME_DIRECTORY", "")
    try:
        listening = inherited(os.environ, os.getpid())
        options = Options(
            trial=arguments.trial,
            source=None if arguments.config is None else Path(arguments.config),
            adapt=adapt,
            shared=listening is not None,
            runtime=Path(runtime) if runtime else None,
        )
        serve(adapt(loaded), options, listening)
    except ListenError as error:
        print(f"smart-meter: {error}", file=sys.stderr)
        return 1
    return 0


def _adapt(loaded: config.Config, arguments: argparse.Namespace) -> config.Config:
    server = loaded.server
    if arguments.trial:
        server = server._replace(host="127.0.0.1", port=TRIAL_PORT)
    if arguments.host is not None:
        server = server._replace(host=arguments.host)
    if arguments.port is not None:
        server = server._replace(port=arguments.port)
    journal = loaded.journal
    if arguments.log_format is not None:
        journal = journal._replace(format=config.LogFormat(arguments.log_format))
    return loaded._replace(server=server, journal=journal)


def _keep_standard_descriptors() -> None:
    # If one of them was closed at the start, a client's connection could get its number, and log lines
    # would be sent to that client.
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _allow_many_connections() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
