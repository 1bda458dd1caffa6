"""Runs the doctor on a virtual Pi, and applies its fixes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.integration.pi_story import EXAMPLE, Story

PROGRAM = "/opt/smart-meter/current/bin/smart-meter"
SECONDS = 20.0
# A virtual Pi has no own clock, card or firmware, and its host's disk may be full.
HARDWARE = {"clock", "card's wear", "card's life", "temperature", "supply voltage", "disk, /"}


class Report(dict[str, dict[str, str]]):
    """The doctor's checks by name, and its exit code."""

    code: int

    def bad(self) -> set[str]:
        """Return the names of the checks that are bad or warnings, except those in HARDWARE.

        What happened in the last 24 hours is left out, too: the tests refuse writes and kill the service.
        """
        bad = {name for name, check in self.items() if check["level"] in ("bad", "warning")} - HARDWARE
        return {name for name in bad if not name.startswith("last 24 hours")}


def doctor(story: Story) -> Report:
    done = story.pi.run([PROGRAM, "doctor", "--json"], check=False)
    report = Report({check["name"]: check for check in json.loads(done.stdout)["checks"]})
    report.code = done.returncode
    return report


def until(story: Story, condition: Callable[[Report], bool]) -> Report:
    """Run the doctor until a condition holds, since the service writes its state file every few seconds."""
    deadline = time.monotonic() + SECONDS
    while not condition(report := doctor(story)):
        assert time.monotonic() < deadline, json.dumps(report, indent=1)
    return report


def write_and_read(story: Story) -> None:
    """Write a sample as the ESP32, and read it as the Opta."""
    assert story.write("field", *EXAMPLE).returncode == 0
    assert story.read("control") == EXAMPLE


def fix(story: Story, check: dict[str, str]) -> None:
    """Run a check's fix, up to the first semicolon, as root."""
    command = check["fix"].split(";")[0]
    assert command.startswith("sudo "), command
    story.pi.run(["sh", "-c", command.removeprefix("sudo ")])
