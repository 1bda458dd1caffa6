"""The main job in one command: provision a fresh virtual Pi over SSH, and pass data from an ESP32 to an Opta.

`python -m tests.demo up` leaves the Pi running, so that you can look around; `down` removes it. With
`--like imager` the Pi is as Raspberry Pi Imager writes it, with cloud-init and netplan.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from datetime import UTC, datetime

from smart_meter.registers.register_map import PV_MAP
from tests.controller import ADDRESS, FIELD_ADDRESS, PROGRAMS, REPOSITORY, Controller
from tests.virtual_pi import PLAIN, Kind, Lab, LabError
from tests.virtual_pi.kinds import KINDS, named

NAME = "pi-north"
LAB = "demo"
SAMPLES = 5


def show(line: str = "") -> None:
    """Print a line at once, even into a pipe."""
    print(line, flush=True)


def heading(text: str) -> None:
    """Print the heading of a step."""
    show(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}")


def provision(controller: Controller) -> None:
    """Run the playbooks and show their output."""
    for playbook in ("site.yml", "verify.yml"):
        heading(f"ansible-playbook playbooks/{playbook}, from the control network, over SSH")
        subprocess.run(
            controller.lab.wrapped("control", controller.command(playbook)),
            env=controller.environment,
            cwd=REPOSITORY,
            check=True,
        )


def telemetry(lab: Lab) -> None:
    """Let an ESP32 write from the field network and an Opta read from the control network."""
    program = [sys.executable, "-m", "smart_meter", "simulate"]
    environment = {"PYTHONPATH": str(REPOSITORY / "src"), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}

    heading(f"an ESP32 writes {SAMPLES} samples to {FIELD_ADDRESS}:502 over the field network (wlan0)")
    esp32 = lab.wrapped(
        "field", [*program, "esp32", "--to", FIELD_ADDRESS, "--interval", "1", "--count", str(SAMPLES)]
    )
    subprocess.run(esp32, env=environment, check=True, timeout=120)

    heading(f"an Opta reads {ADDRESS}:502 over the control network (eth0)")
    opta = lab.wrapped("control", [*program, "opta", "--to", ADDRESS, "--interval", "1", "--count", "3"])
    subprocess.run(opta, env=environment, check=True, timeout=120)

    command = ["mbpoll", "-m", "tcp", "-a", "1", "-0", "-r", "0", "-c", "8", "-t", "4", "-1", ADDRESS]
    heading(" ".join(command))
    answered = lab.run("control", command).stdout
    show(answered.strip())
    show("\ndecoded by the register map:")
    registers = [int(value) for value in re.findall(r"^\[\d+\]:\s+(\d+)", answered, re.MULTILINE)]
    for line in decoded(registers):
        show(line)


def decoded(registers: list[int]) -> list[str]:
    """Return a line per measurement for the eight registers of the default map, in wire order."""
    values = PV_MAP.decode(registers)
    lines = []
    for measurement in PV_MAP.measurements:
        value = values[measurement.name]
        shown = (
            f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}Z"
            if measurement is PV_MAP.timestamp
            else measurement.format(value)
        )
        lines.append(f"  {measurement.name:<10} {shown:>20}")
    return lines


def up(kind: Kind) -> None:
    """Run the demo, from a fresh Pi to values on the screen."""
    started = time.monotonic()
    heading("a fresh Pi")
    with Lab(LAB, keep=True, log=show) as lab:
        pi = lab.boot(NAME, kind=kind)
        show(f"{NAME} answers at {pi.bootstrap_address}, its address from DHCP")
        controller = Controller(lab)
        controller.add(pi)
        provision(controller)
        telemetry(lab)
        heading("the service's journal since its start")
        journal = pi.run(["journalctl", "-b", "-u", "smart-meter", "-o", "cat", "--no-pager"]).stdout
        if "[TX TO OPTA]" not in journal:
            raise LabError("the journal does not show any read by the Opta; have a look at the Pi")
        show(journal.rstrip())
        heading(f"done in {time.monotonic() - started:.0f} s; the Pi keeps running")
        sudo = "sudo " if PROGRAMS.parent.stat().st_uid else ""
        run = f"{sudo}.venv/bin/python -m tests.virtual_pi"
        field = "mbpoll -m tcp -a 1 -0 -r 0 -t 4 " + FIELD_ADDRESS
        show("Look around:")
        show(f"  {run} shell --lab {LAB} --in {NAME}          a root shell on the Pi")
        show(f"  {run} run --lab {LAB} --in {NAME} -- journalctl -fu smart-meter")
        show(f"  {run} run --lab {LAB} --in control -- mbpoll -m tcp -a 1 -0 -r 0 -c 8 -t 4 {ADDRESS}")
        show(f"  {run} run --lab {LAB} --in field -- {field} -- 250 260")
        show("Remove it:")
        show("  make demo-down")


def main() -> int:
    """Run the command; report an expected failure in one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["up", "down"])
    parser.add_argument("--like", choices=KINDS, default=PLAIN.name, help="how the Pi was flashed (plain)")
    options = parser.parse_args()
    try:
        if options.what == "up":
            up(named(options.like))
        else:
            Lab(LAB).down()
            show("the demo's Pi and its networks are removed")
    except LabError as error:
        show(f"demo: {error}")
        return 1
    except subprocess.CalledProcessError as error:
        show(f"demo: this step failed: {error}")
        show("the Pi is still running, so you can look for the cause; `make demo-down` removes it")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
