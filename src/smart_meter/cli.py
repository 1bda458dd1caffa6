"""The command `smart-meter`: parse, call, return the exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from ipaddress import ip_address

from smart_meter import __version__

EXIT_CODES = """\
exit codes: 0 done or stopped, 1 failed at run time, 2 refused configuration or arguments"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    parsed = parser().parse_args(arguments)
    command = importlib.import_module(f"smart_meter.commands.{parsed.command.replace('-', '_')}")
    try:
        code: int = command.execute(parsed)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        # 128 + the signal's number is what a shell makes of it.
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    root = _Parser(
        prog="smart-meter",
        description="Modbus TCP data concentrator: a field zone writes telemetry, a control zone reads it.",
        epilog="examples:\n"
        "  smart-meter run --trial                       try it on this machine, without root\n"
        "  smart-meter simulate esp32 --to localhost:1502\n"
        "  smart-meter read localhost:1502\n"
        "  smart-meter check-config config.toml\n\n" + EXIT_CODES,
    )
    root.add_argument("--version", action="version", version=f"smart-meter {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_check_config(commands)
    return root


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of the examples."""

    def __init__(self, **keywords: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **keywords)  # type: ignore[arg-type]


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    run = commands.add_parser(
        "run",
        help="serve until a signal ends it",
        description="Serve Modbus TCP until SIGTERM or Ctrl-C. Without --config: one PV meter, port 502.",
        epilog="examples:\n"
        "  smart-meter run --trial\n"
        "  authbind --deep smart-meter run --config /etc/smart-meter/config.toml\n"
        "  smart-meter run --port 5020 --log-format json\n\n" + EXIT_CODES,
    )
    run.add_argument("--config", metavar="FILE", help="TOML file (see check-config)")
    run.add_argument("--host", metavar="H", type=_ip_address, help="listen on this address alone")
    run.add_argument("--port", metavar="N", type=_port, help="listen on this port; 0: any free one")
    run.add_argument(
        "--log-format", choices=["text", "json"], help="the journal's lines, for people or machines"
    )
    run.add_argument(
        "--trial",
        action="store_true",
        help="listen on 127.0.0.1:1502, and let this machine's own programs write and read",
    )


def _add_check_config(commands: argparse._SubParsersAction[_Parser]) -> None:
    check = commands.add_parser(
        "check-config",
        help="check configuration files",
        description="Check configuration files and print every problem of each, with what would be right.",
        epilog="examples:\n"
        "  smart-meter check-config /etc/smart-meter/config.toml\n"
        "  smart-meter check-config --json site/*.toml\n\n" + EXIT_CODES,
    )
    check.add_argument("files", metavar="FILE", nargs="+", help="TOML file")
    check.add_argument(
        "--json", action="store_true", help="one JSON object: problems, zones and meters by file"
    )


def _ip_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no IP address; 0.0.0.0 is all of this machine's"
        ) from None


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535")
