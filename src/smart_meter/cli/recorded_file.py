"""Shared by the commands that read a file of the service: which file, and how errors are reported."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from smart_meter.cli.target import ArgumentsError
from smart_meter.config import Config, ConfigError, load
from smart_meter.history.faults import DamagedError, explain


def read_file(path: Callable[[], str], read: Callable[[str], int], *, key: str, content: str) -> int:
    """Return the exit code of `read`, or 1 if reading failed, 2 for invalid configuration or arguments.

    path: finds the file, which `read` gets. key: the setting that names it. content: what it consists of.
    """
    found = ""
    try:
        found = path()
        return read(found)
    except (ConfigError, ArgumentsError) as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (sqlite3.Error, OSError, DamagedError) as error:
        sys.stdout.flush()
        print(f"smart-meter: {found}: {_explain(error, found, key, content)}", file=sys.stderr)
        return 1


def find_path(
    arguments: argparse.Namespace, default: Path, setting: Callable[[Config], str], lack: str
) -> str:
    """Return the file that `--path` or `--config` names. Raises ConfigError or ArgumentsError.

    default: the configuration without `--config`. setting: reads the path from it. lack: what an empty path
    means.
    """
    if arguments.path is not None:
        return str(arguments.path)
    config: Path | None = arguments.config
    if config is None:
        config = default
        try:
            config.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ArgumentsError(f"there is no {config}; give --config FILE or --path FILE") from error
        except OSError as error:
            raise ArgumentsError(f"{config}: {error.strerror}; use sudo, or give --path FILE") from error
    path = setting(load(config))
    if not path:
        raise ArgumentsError(f"{config}: {lack}; set it, or give --path FILE")
    return path


def _explain(error: Exception, path: str, key: str, content: str) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no such file; the service creates it when it starts with this {key}"
    if isinstance(error, PermissionError):
        return "this user may not read it; use sudo"
    if isinstance(error, sqlite3.Error):
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN:
            return "this user may not read it, or its folder with the -wal file; use sudo, or copy both files"
        return f"{explain(error, path)}; the {content} that could be read were printed"
    return explain(error, path)
