"""Where the time of a provisioning run goes: provision one virtual Pi, and print a table by role.

python -m bench.fleet.times [--output FILE]; use `make bench-site`.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.controller import Controller
from tests.virtual_pi import Lab

from bench import machine
from bench.report import table

RUNS = (
    ("fresh", "site.yml"),
    ("second", "site.yml"),
    ("configure", "configure.yml"),
    ("verify", "verify.yml"),
)
"""What is measured, in this order, on one Pi: a name for the column, and the playbook."""
_LAB, _NAME = "sitebench", "pi-north"
_TIMED = {
    "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
    "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "all",
    "PROFILE_TASKS_SORT_ORDER": "none",
}
_TASK = re.compile(r"(.+?) -+ (\d+\.\d\d)s")
_ASKED = 0.15
"""A task that takes longer has asked the Pi; one that is skipped takes a tenth of it."""


@dataclass
class Times:
    """A run. seconds: from the command's start to its end; roles: of each role, its tasks' seconds."""

    name: str
    seconds: float
    roles: dict[str, list[float]] = field(default_factory=dict)


def tasks_by_role(output: str) -> dict[str, list[float]]:
    """Return the seconds of each task by role, from the output of ansible.posix.profile_tasks."""
    _, found, recap = output.partition("TASKS RECAP")
    if not found:
        raise ValueError("the output has no times; ansible.posix.profile_tasks is not installed")
    roles: dict[str, list[float]] = {}
    for line in recap.splitlines():
        if task := _TASK.fullmatch(line.strip()):
            role, colon, _ = task[1].partition(" : ")
            roles.setdefault(role if colon else "playbook", []).append(float(task[2]))
    return roles


def render(runs: Sequence[Times]) -> str:
    """Return the table: a row per role, and per run its seconds and the number of tasks that asked the Pi."""
    head = ["role", *(f"{run.name} (s)" for run in runs), *(f"{run.name} (tasks)" for run in runs)]
    lines = []
    for role in dict.fromkeys(role for run in runs for role in run.roles):
        tasks = [run.roles.get(role, []) for run in runs]
        sums = [f"{sum(seconds):.1f}" for seconds in tasks]
        lines.append([f"`{role}`", *sums, *(str(sum(one > _ASKED for one in seconds)) for seconds in tasks)])
    lines.append(["the whole run", *(f"{run.seconds:.1f}" for run in runs), *([""] * len(runs))])
    return table(head, lines)


def measure() -> list[Times]:
    """Provision a fresh Pi in a lab of its own, and run the other playbooks on it."""
    found = []
    with Lab(_LAB) as lab:
        controller = Controller(lab)
        controller.add(lab.boot(_NAME))
        for name, playbook in RUNS:
            started = time.monotonic()
            played = controller.playbook(playbook, env=_TIMED)
            found.append(Times(name, time.monotonic() - started, tasks_by_role(played.output)))
            print(f"{name:10} {found[-1].seconds:6.1f} s", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 without root."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet.times", description=__doc__)
    parser.add_argument("--output", type=Path, help="write the table to a file, too")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("bench.fleet.times: virtual Pis need root; use `make bench-site`", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    busy = machine.share_in_use()
    text = (
        f"{machine.describe()}; the virtual Pi shares these CPUs with the controller. "
        f"Before the start, {busy:.0%} of them were in use.\n\n{render(measure())}"
    )
    print(f"\n{text}")
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
