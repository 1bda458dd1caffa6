"""What the doctor says of a virtual Pi, and doing what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.integration.pi_story import EXAMPLE, Story

PROGRAM = "/opt/smart-meter/current/bin/smart-meter"
SECONDS = 20.0
# What a virtual Pi has not: a clock of its own, a card, a firmware. Its host's disk may be full.
HARDWARE = {"clock", "card's wear", "temperature", "supply voltage", "disk, /"}


class Told(dict[str, dict[str, str]]):
    """What the doctor told: each check by its name, and the exit code."""

    code: int

    def bad(self) -> set[str]:
        """Return what is bad or to look at, of what a virtual Pi can show."""
        return {name for name, check in self.items() if check["level"] in ("bad", "warning")} - HARDWARE


def doctor(story: Story) -> Told:
    done = story.pi.run([PROGRAM, "doctor", "--json"], check=False)
    told = Told({check["name"]: check for check in json.loads(done.stdout)["checks"]})
    told.code = done.returncode
    return told


def until(story: Story, condition: Callable[[Told], bool]) -> Told:
    """Ask until a condition holds: the service tells its state every few seconds."""
    deadline = time.monotonic() + SECONDS
    while not condition(told := doctor(story)):
        assert time.monotonic() < deadline, json.dumps(told, indent=1)
    return told


def play_both_peers(story: Story) -> None:
    assert story.write("field", *EXAMPLE).returncode == 0
    assert story.read("control") == EXAMPLE


def mend(story: Story, check: dict[str, str]) -> None:
    """Do what the doctor says, up to the first semicolon, as root."""
    command = check["mend"].split(";")[0]
    assert command.startswith("sudo "), command
    story.pi.run(["sh", "-c", command.removeprefix("sudo ")])
