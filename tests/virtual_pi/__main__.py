"""The command line of the virtual Pis."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.virtual_pi import kinds, places, removal
from tests.virtual_pi.commands import LabError, environment, require_machine
from tests.virtual_pi.kinds import PLAIN
from tests.virtual_pi.lab import Lab
from tests.virtual_pi.places import CONTROL, FIELD, STRANGER

_EXAMPLES = """\
examples:
  python -m tests.virtual_pi up                                  create a lab named demo with one fresh Pi
  python -m tests.virtual_pi up --lab trial pi-north pi-south    create another lab with two Pis
  python -m tests.virtual_pi up --kind imager                    as Raspberry Pi Imager writes it
  python -m tests.virtual_pi list
  python -m tests.virtual_pi run --in pi-north -- nmcli device   run a command inside the Pi, as root
  python -m tests.virtual_pi run --in control -- mbpoll -m tcp -a 1 -r 1 -c 8 -1 192.168.2.100
  python -m tests.virtual_pi shell --in field                    open a shell in the ESP32's network
  python -m tests.virtual_pi down                                remove the lab named demo
  python -m tests.virtual_pi down --all

All commands need root.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        require_machine()
        status: int = options.action(options)
    except LabError as error:
        print(f"virtual_pi: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _up(options: argparse.Namespace) -> int:
    started = time.monotonic()

    def log(text: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {text}", file=sys.stderr, flush=True)

    places.check_pi_names(options.names)  # Before an existing lab of that name is removed.
    lab = Lab(options.lab, keep=True, log=log)
    with lab:
        try:
            pis = lab.boot_many(options.names, options.timeout, kinds.named(options.kind))
        except BaseException:
            lab.down()
            raise
        for pi in pis:
            print(f"\n{pi.name} at {pi.bootstrap_address}")
            print(f"  user {pi.user}, password {pi.password} (sudo asks for it)")
            print(f"  {_command_line('run', lab)} --in {CONTROL} -- {' '.join(lab.ssh(pi))}")
            print(f"  {_command_line('shell', lab)} --in {pi.name}")
    print(f"\nRemove the lab with: {_command_line('down', lab)}")
    return 0


def _down(options: argparse.Namespace) -> int:
    for name in removal.labs() if options.all_labs else [options.lab]:
        Lab(name).down()
        print(f"removed lab {name}")
    return 0


def _list(_: argparse.Namespace) -> int:
    names = removal.labs()
    for name in names:
        try:
            lab = Lab.attach(name)
        except LabError:
            print(f"{name}: incomplete; remove it with: {_command_line('down')} --lab {name}")
            continue
        for pi in lab.pis:
            print(
                f"{name}: {pi.name}: {'on' if pi.is_on else 'off'}, {pi.leased('eth0') or 'no address yet'}"
            )
        if not lab.pis:
            print(f"{name}: no Pis")
    if not names:
        print("no labs are up")
    return 0


def _run(options: argparse.Namespace) -> int:
    return _replace_process(options, options.command)


def _shell(options: argparse.Namespace) -> int:
    return _replace_process(options, ["bash", "-l"])


def _replace_process(options: argparse.Namespace, command: Sequence[str]) -> int:
    """Replace this process by the command, which inherits its input, output, signals and exit status."""
    lab = Lab.attach(options.lab)
    if options.place in (CONTROL, FIELD, STRANGER):
        wrapped = lab.wrapped(options.place, command)
    else:
        wrapped = lab.pi(options.place).wrapped(command, {"TERM": os.environ.get("TERM", "dumb")})
    os.execvpe(wrapped[0], wrapped, environment())  # noqa: S606 - a list of arguments, and no shell


def _command_line(command: str, lab: Lab | None = None) -> str:
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f"{shown} -m tests.virtual_pi {command}" + (f" --lab {lab.name}" if lab else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.virtual_pi",
        description="Boot freshly flashed virtual Raspberry Pis between a field and a control network.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser(
        "up", help="create a lab and boot fresh Pis in it; an existing lab of this name is removed first"
    )
    up.add_argument(
        "names", nargs="*", default=["pi-north"], metavar="NAME", help="names of the Pis (pi-north)"
    )
    up.add_argument(
        "--timeout", type=float, default=90, metavar="SECONDS", help="time allowed for the boot (90)"
    )
    up.add_argument(
        "--kind", choices=kinds.KINDS, default=PLAIN.name, help="how the Pis were flashed (plain)"
    )
    up.set_defaults(action=_up)

    down = commands.add_parser("down", help="remove a lab and everything that belongs to it")
    down.add_argument("--all", dest="all_labs", action="store_true", help="remove every lab on this machine")
    down.set_defaults(action=_down)

    listing = commands.add_parser("list", help="list the labs and their Pis")
    listing.set_defaults(action=_list)

    run = commands.add_parser("run", help="run a command in a network of the lab, or as root inside a Pi")
    run.add_argument("command", nargs="+", metavar="COMMAND", help="command and arguments, after --")
    run.set_defaults(action=_run)

    shell = commands.add_parser("shell", help="open a shell in a network of the lab, or as root inside a Pi")
    shell.set_defaults(action=_shell)

    for command in (up, down, run, shell):
        command.add_argument("--lab", default="demo", help="name of the lab (demo)")
    for command in (run, shell):
        command.add_argument(
            "--in",
            dest="place",
            required=True,
            metavar="PLACE",
            help="control, field, stranger, or the name of a Pi",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
