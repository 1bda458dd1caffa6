"""The parser of the command line: every sub-command with its options and examples."""

from __future__ import annotations

import argparse
import os
from typing import TypeAlias

from smart_meter import __version__
from smart_meter.cli.arguments import (
    parse_client,
    parse_count,
    parse_ip_address,
    parse_kinds,
    parse_path,
    parse_pid,
    parse_port,
    parse_positive,
    parse_seed,
    parse_since,
    parse_target,
    parse_time,
    parse_unit_id,
)
from smart_meter.log.audit.kinds import BY_ROOT

EXIT_CODES = """\
exit codes: 0 success, 1 failure at run time, 2 invalid configuration or arguments"""


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of descriptions and examples."""

    def __init__(self, **keywords: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **keywords)  # type: ignore[arg-type]


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    root = _Parser(
        prog="smart-meter",
        description="Modbus TCP data concentrator: a field zone writes telemetry, a control zone reads it.",
        epilog="examples:\n"
        "  smart-meter run --trial                       try it out, without root\n"
        "  smart-meter simulate esp32 --to localhost:1502\n"
        "  smart-meter read localhost:1502\n"
        "  smart-meter check-config config.toml\n"
        "  smart-meter map --format c --config config.toml > map.h\n\n" + EXIT_CODES,
    )
    root.add_argument("--version", action="version", version=f"smart-meter {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_reload(commands)
    _add_check_config(commands)
    _add_simulate(commands)
    _add_read(commands)
    _add_probe(commands)
    _add_map(commands)
    _add_history(commands)
    _add_events(commands)
    _add_doctor(commands)
    _add_site_card(commands)
    return root


def _add_run(commands: _Commands) -> None:
    run = commands.add_parser(
        "run",
        help="run the concentrator",
        description="Serve Modbus TCP until SIGTERM or Ctrl-C. Without --config: one PV meter, port 502.",
        epilog="examples:\n"
        "  smart-meter run --trial\n"
        "  authbind --deep smart-meter run --config /etc/smart-meter/config.toml\n"
        "  smart-meter run --port 5020 --log-format json\n\n" + EXIT_CODES,
    )
    run.add_argument("--config", metavar="FILE", type=parse_path, help="TOML file (see check-config)")
    run.add_argument("--host", metavar="H", type=parse_ip_address, help="address to listen on")
    run.add_argument("--port", metavar="N", type=parse_port, help="port to listen on; 0: any free port")
    run.add_argument(
        "--log-format", choices=["text", "json"], help="format of the log, for people or for programs"
    )
    run.add_argument(
        "--trial",
        action="store_true",
        help="listen on 127.0.0.1:1502, and let programs on this machine read and write",
    )


def _add_reload(commands: _Commands) -> None:
    reload = commands.add_parser(
        "reload",
        help="reload the configuration of a running service",
        description="Check the configuration file, signal the service to load it (SIGHUP), and wait for the\n"
        "result. Connections and values are kept. An invalid file leaves the running configuration.",
        epilog="examples:\n"
        "  sudo systemctl reload smart-meter            runs this command\n"
        "  smart-meter reload --config c.toml --pid 1234 --runtime /run/smart-meter\n\n" + EXIT_CODES,
    )
    reload.add_argument(
        "--config",
        metavar="FILE",
        type=parse_path,
        default="/etc/smart-meter/config.toml",
        help="configuration file of the service (default: /etc/smart-meter/config.toml)",
    )
    reload.add_argument("--pid", metavar="N", type=parse_pid, help="PID of the service (default: $MAINPID)")
    reload.add_argument(
        "--runtime",
        metavar="DIR",
        type=parse_path,
        default=os.environ.get("RUNTIME_DIRECTORY", "/run/smart-meter"),
        help="directory of the result (default: $RUNTIME_DIRECTORY, or /run/smart-meter)",
    )


def _add_check_config(commands: _Commands) -> None:
    check = commands.add_parser(
        "check-config",
        help="check configuration files",
        description="Check configuration files and print every problem, each with how to fix it.",
        epilog="examples:\n"
        "  smart-meter check-config /etc/smart-meter/config.toml\n"
        "  smart-meter check-config --json site/*.toml\n\n" + EXIT_CODES,
    )
    check.add_argument("files", metavar="FILE", type=parse_path, nargs="+", help="TOML file")
    check.add_argument(
        "--json", action="store_true", help="print JSON: problems, zones and meters of each file"
    )


def _add_simulate(commands: _Commands) -> None:
    simulate = commands.add_parser(
        "simulate",
        help="simulate the ESP32 or the Opta",
        description="Simulate the ESP32, which writes the samples of a PV day, or the Opta, which reads and\n"
        "prints them. Both wait for a server that is not reachable.",
        epilog="examples:\n"
        "  smart-meter simulate esp32 --to localhost:1502\n"
        "  smart-meter simulate opta --to localhost:1502 --count 10\n"
        "  smart-meter simulate esp32 --to 192.168.1.100 --start 2016-01-01T06:00:00+00:00 --speed 1\n\n"
        + EXIT_CODES,
    )
    simulate.add_argument("peer", choices=["esp32", "opta"], help="device to simulate")
    simulate.add_argument(
        "--to",
        metavar="HOST[:PORT]",
        type=parse_target,
        required=True,
        help="address of the server (port: 502)",
    )
    _add_meter(simulate)
    simulate.add_argument(
        "--interval",
        metavar="S",
        type=parse_positive,
        default=2.0,
        help="seconds between samples (default: 2)",
    )
    simulate.add_argument("--count", metavar="N", type=parse_count, help="stop after this many samples")
    simulate.add_argument(
        "--seed", metavar="N", type=parse_seed, default=0, help="esp32: seed of the day's clouds (default: 0)"
    )
    simulate.add_argument(
        "--speed",
        metavar="X",
        type=parse_positive,
        default=60.0,
        help="esp32: simulated seconds per second (default: 60)",
    )
    simulate.add_argument(
        "--start",
        metavar="TIME",
        type=parse_time,
        help="esp32: first timestamp; the next ones follow at --speed (default: the current time)",
    )


def _add_read(commands: _Commands) -> None:
    read = commands.add_parser(
        "read",
        help="print a meter's decoded registers",
        description="Read a meter's registers and print the decoded values and the meter's state.",
        epilog="examples:\n"
        "  smart-meter read localhost:1502\n"
        "  smart-meter read 192.168.2.100 --json\n"
        "  smart-meter read 192.168.2.100 --config config.toml --unit 2\n\n" + EXIT_CODES,
    )
    read.add_argument(
        "target", metavar="HOST[:PORT]", type=parse_target, help="address of the server (port: 502)"
    )
    _add_meter(read)
    read.add_argument("--json", action="store_true", help="print JSON")


def _add_probe(commands: _Commands) -> None:
    probe = commands.add_parser(
        "probe",
        help="test whether this machine may read and write",
        description="Read a meter's registers, then send writes that no server can carry out, and compare\n"
        "the replies with what is expected. Nothing changes on the server, and a concentrator does\n"
        "not count the requests.",
        epilog="examples:\n"
        "  smart-meter probe 192.168.2.100                          from the control zone\n"
        "  smart-meter probe 192.168.1.100 --expect read-write      from the field zone\n"
        "  smart-meter probe 192.168.2.100 --expect no-connection   from any other network\n\n" + EXIT_CODES,
    )
    probe.add_argument(
        "target", metavar="HOST[:PORT]", type=parse_target, help="address of the server (port: 502)"
    )
    _add_meter(probe)
    probe.add_argument(
        "--expect",
        choices=["read-only", "read-write", "no-connection"],
        default="read-only",
        help="expected result; exit with 1 if it differs (default: read-only)",
    )
    probe.add_argument("--json", action="store_true", help="print JSON")


def _add_map(commands: _Commands) -> None:
    register_map = commands.add_parser(
        "map",
        help="print the register map for people, a PLC or a C program",
        description="Print every meter's registers and the status block. Without --config: the PV map.",
        epilog="examples:\n"
        "  smart-meter map                                      Markdown, for people\n"
        "  smart-meter map --format csv --config config.toml    one tag per line, for import into a PLC\n"
        "  smart-meter map --format c > map.h                   C header for the ESP32 and the Opta\n\n"
        + EXIT_CODES,
    )
    register_map.add_argument(
        "--format", choices=["markdown", "csv", "c"], default="markdown", help="default: markdown"
    )
    register_map.add_argument("--config", metavar="FILE", type=parse_path, help="TOML file with the meters")
    register_map.add_argument("--meter", metavar="NAME", help="print only this meter")


def _add_history(commands: _Commands) -> None:
    history = commands.add_parser(
        "history",
        help="print the recorded samples",
        description="Print the samples that the service has recorded, the oldest first. Each is decoded\n"
        "with the register map that was valid when it was recorded. The file may be in use, or a\n"
        "copy from another Pi. table, csv: one column per measurement of any meter and map; a row\n"
        "only has values in its own columns. json: one object per line.",
        epilog="examples:\n"
        "  smart-meter history --since 24h\n"
        "  smart-meter history --meter pv --since 2026-01-01T00:00:00+00:00 --format csv > pv.csv\n"
        "  smart-meter history --path history.db --format json\n"
        "  sudo smart-meter history backup /media/usb/history.db\n\n" + EXIT_CODES,
    )
    actions = ["backup", "restore"]
    history.add_argument("action", nargs="?", choices=actions, help="copy the file, or take a copy back")
    history.add_argument("copy", nargs="?", type=parse_path, help="the copy, for backup or restore")
    source = history.add_mutually_exclusive_group()
    source.add_argument(
        "--config",
        metavar="FILE",
        type=parse_path,
        help="TOML file with history.path (default: /etc/smart-meter/config.toml)",
    )
    source.add_argument("--path", metavar="FILE", type=parse_path, help="history file")
    history.add_argument("--meter", metavar="NAME", help="print only this meter's samples")
    history.add_argument(
        "--since",
        metavar="TIME",
        type=parse_since,
        help="print only samples that arrived since a time (by the Pi's clock), or within a time span such "
        "as 30m, 24h or 7d: before now on the Pi that records, otherwise before the newest sample",
    )
    history.add_argument("--format", choices=["table", "csv", "json"], default="table", help="default: table")


def _add_events(commands: _Commands) -> None:
    events = commands.add_parser(
        "events",
        help="print the audit trail, or add an event",
        description="Print what happened: starts, stops, reloads, writers, refusals. Events of a kind,\n"
        "client and meter that differ in numbers only are one row with a count, the times of the first\n"
        "and the last, and the last one's detail. The file may be in use, or a copy from another Pi.\n"
        "The count of a row that grows is written some minutes later.\n\n"
        "Root may add an event while the service runs. If it does not run, the event waits in a file;\n"
        "send-waiting sends the events in that file.",
        epilog="examples:\n"
        "  smart-meter events --since 24h\n"
        "  smart-meter events --kind refused,partial --client 192.168.1.51\n"
        "  smart-meter events --path events.db --format json\n"
        "  sudo smart-meter events add network 'the switch was replaced'\n\n" + EXIT_CODES,
    )
    kinds = sorted(kind.value for kind in BY_ROOT)
    events.add_argument(
        "action", nargs="?", choices=["add", "send-waiting"], help="add an event, or send those that wait"
    )
    events.add_argument(
        "event_kind", metavar="KIND", nargs="?", choices=kinds, help=f"for add: {', '.join(kinds)}"
    )
    events.add_argument("event_text", metavar="TEXT", nargs="?", help="for add: what happened, on one line")
    source = events.add_mutually_exclusive_group()
    source.add_argument(
        "--config",
        metavar="FILE",
        type=parse_path,
        help="TOML file with events.path (default: /etc/smart-meter/config.toml)",
    )
    source.add_argument("--path", metavar="FILE", type=parse_path, help="file of the audit trail")
    events.add_argument(
        "--since",
        metavar="TIME",
        type=parse_since,
        help="print only events since a time (by the Pi's clock), or within a time span such as "
        "30m, 24h or 7d: before now on the Pi that records, otherwise before the newest event",
    )
    events.add_argument(
        "--kind",
        metavar="KINDS",
        type=parse_kinds,
        default=(),
        help="print only events of these kinds, separated by commas, such as refused,stale",
    )
    events.add_argument(
        "--client",
        metavar="ADDRESS",
        type=parse_client,
        help="print only events of this client; '*': of those that have no share of their own",
    )
    events.add_argument("--format", choices=["table", "csv", "json"], default="table", help="default: table")
    events.add_argument(
        "--runtime",
        metavar="DIR",
        type=parse_path,
        default="/run/smart-meter",
        help="for add: directory of the service's socket (default: /run/smart-meter)",
    )
    events.add_argument(
        "--waiting",
        metavar="FILE",
        type=parse_path,
        default="/var/lib/smart-meter-guard/events",
        help="for add: events that wait for the service (default: /var/lib/smart-meter-guard/events)",
    )


def _add_doctor(commands: _Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="check this Pi and print how to fix what is wrong",
        description="Check the service, its port, zones, firewall, peers and history, and the Pi itself.\n"
        "Each check prints what was found and, if that is not good, what was expected and how to fix it.\n"
        "Nothing is changed. Some checks need root; for other users they are marked with ?.",
        epilog="examples:\n"
        "  sudo smart-meter doctor                   on the Pi\n"
        "  smart-meter doctor --json                 for programs\n\n"
        "exit codes: 0 no check is bad, 1 a check is bad, 2 invalid configuration or arguments",
    )
    doctor.add_argument(
        "--config",
        metavar="FILE",
        type=parse_path,
        default="/etc/smart-meter/config.toml",
        help="configuration file of the service (default: /etc/smart-meter/config.toml)",
    )
    doctor.add_argument(
        "--runtime",
        metavar="DIR",
        type=parse_path,
        default="/run/smart-meter",
        help="directory of the service's state file (default: /run/smart-meter)",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")


def _add_site_card(commands: _Commands) -> None:
    site_card = commands.add_parser(
        "site-card",
        help="check a site card, or apply the one on the boot partition",
        description="A site card (site-card.toml on the boot partition) makes an image the Pi of a site.\n"
        "`make site-card HOST=pi-north` writes it on the controller. check: report every problem of a card.\n"
        "apply: apply the card on the boot partition, whole or not at all, unless it is applied already.\n"
        "It runs at each boot, before the network starts. A refused card changes nothing, and\n"
        "site-card-answer.txt beside it has the reasons.",
        epilog="examples:\n"
        "  smart-meter site-card check site-card.toml\n"
        "  sudo smart-meter site-card apply\n\n" + EXIT_CODES,
    )
    site_card.add_argument("action", choices=["check", "apply"], help="check a card, or apply it")
    site_card.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=parse_path,
        help="for check: the card (default: site-card.toml)",
    )
    site_card.add_argument(
        "--folder",
        metavar="DIR",
        type=parse_path,
        default="/boot/firmware",
        help="for apply: the folder of the boot partition (default: /boot/firmware)",
    )
    site_card.add_argument(
        "--root",
        metavar="DIR",
        type=parse_path,
        default="/",
        help="for apply: the root file system, if it is not the running one (default: /)",
    )


def _add_meter(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--unit", metavar="N", type=parse_unit_id, help="unit identifier (default: the first meter's)"
    )
    command.add_argument("--config", metavar="FILE", type=parse_path, help="TOML file with the register map")
    command.add_argument(
        "--timeout",
        metavar="S",
        type=parse_positive,
        default=3.0,
        help="seconds to wait for a reply (default: 3)",
    )
