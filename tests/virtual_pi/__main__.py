"""The command line of the virtual Pis."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.virtual_pi import places, removal
from tests.virtual_pi.commands import LabError, environment, require_machine
from tests.virtual_pi.lab import Lab
from tests.virtual_pi.places import CONTROL, FIELD, STRANGER

_EXAMPLES = """\
examples:
  python -m tests.virtual_pi up                                  a lab named demo with one fresh Pi
  python -m tests.virtual_pi up --lab trial pi-north pi-south    another lab, two Pis side by side
  python -m tests.virtual_pi list
  python -m tests.virtual_pi run --in pi-north -- nmcli device   inside the Pi, as root
  python -m tests.virtual_pi run --in control -- mbpoll -m tcp -a 1 -r 1 -c 8 -1 192.168.2.100
  python -m tests.virtual_pi shell --in field                    where the ESP32 is
  python -m tests.virtual_pi down                                remove the lab named demo
  python -m tests.virtual_pi down --all

All of it needs root.
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
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:5.1f} s] {text}", file=sys.stderr, flush=True)

    places.check_pi_names(options.names)  # Before a lab of that name is removed.
    lab = Lab(options.lab, keep=True, say=say)
    with lab:
        try:
            pis = lab.boot_many(options.names, options.timeout)
        except BaseException:
            lab.down()
            raise
        for pi in pis:
            print(f"\n{pi.name} at {pi.bootstrap_address}")
            print(f"  user {pi.user}, password {pi.password} (sudo asks for it)")
            print(f"  {_this('run', lab)} --in {CONTROL} -- {' '.join(lab.ssh(pi))}")
            print(f"  {_this('shell', lab)} --in {pi.name}")
    print(f"\nRemove it all with: {_this('down', lab)}")
    return 0


def _down(options: argparse.Namespace) -> int:
    names = removal.labs() if options.all else [options.lab]
    for name in names:
        Lab(name).down()
        print(f"lab {name} is removed")
    return 0


def _list(_: argparse.Namespace) -> int:
    names = removal.labs()
    for name in names:
        try:
            lab = Lab.attach(name)
        except LabError:
            print(f"{name}: left half made or half removed; remove it with: {_this('down')} --lab {name}")
            continue
        for pi in lab.pis:
            print(
                f"{name}: {pi.name}: {'on' if pi.is_on else 'off'}, {pi.leased('eth0') or 'no address yet'}"
            )
        if not lab.pis:
            print(f"{name}: no Pi")
    if not names:
        print("no lab is up")
    return 0


def _run(options: argparse.Namespace) -> int:
    return _hand_over(options, options.command)


def _shell(options: argparse.Namespace) -> int:
    return _hand_over(options, ["bash", "-l"])


def _hand_over(options: argparse.Namespace, command: Sequence[str]) -> int:
    """Become the command: its input, output, signals and exit status are this program's."""
    lab = Lab.attach(options.lab)
    if options.place in (CONTROL, FIELD, STRANGER):
        inside = lab.entering(options.place, command)
    else:
        inside = lab.pi(options.place).entering(command, {"TERM": os.environ.get("TERM", "dumb")})
    os.execvpe(inside[0], inside, environment())  # noqa: S606 - a list of words; there is no shell to mislead


def _this(command: str, lab: Lab | None = None) -> str:
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f"{shown} -m tests.virtual_pi {command}" + (f" --lab {lab.name}" if lab else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.virtual_pi",
        description="Boot virtual Raspberry Pis, as after flashing, between a field and a control network.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser(
        "up", help="make a lab and boot fresh Pis in it; one of the same name is removed first"
    )
    up.add_argument(
        "names", nargs="*", default=["pi-north"], metavar="NAME", help="the Pis' names (pi-north)"
    )
    up.add_argument(
        "--timeout", type=float, default=90, metavar="SECONDS", help="how long the boot may take (90)"
    )
    up.set_defaults(action=_up)

    down = commands.add_parser("down", help="remove a lab and all that belongs to it")
    down.add_argument("--all", action="store_true", help="every lab on this machine, half-made ones as well")
    down.set_defaults(action=_down)

    listing = commands.add_parser("list", help="list the labs and their Pis")
    listing.set_defaults(action=_list)

    run = commands.add_parser("run", help="run a command in a network of the lab, or as root inside a Pi")
    run.add_argument("command", nargs="+", metavar="COMMAND", help="the command and its arguments, after --")
    run.set_defaults(action=_run)

    shell = commands.add_parser("shell", help="open a shell there")
    shell.set_defaults(action=_shell)

    for command in (up, down, run, shell):
        command.add_argument("--lab", default="demo", help="the lab's name (demo)")
    for command in (run, shell):
        command.add_argument(
            "--in",
            dest="place",
            required=True,
            metavar="PLACE",
            help="control, field, stranger, or a Pi's name",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
