"""Power cuts of the booted image on a card that loses what was not flushed (make test-image).

After each cut the Pi boots without a hand and serves, and every acknowledged sample is there. The control
does the same cuts in normal work with flushes ignored; it must lose samples, or the others prove nothing.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from tests.controller import REPOSITORY
from tests.image.appliance import SITE_CARD, Flushes
from tests.image.machine import BOOT_SECONDS
from tests.image.site import Site, site
from tests.image.test_boot import IMAGE
from tests.integration.pi_story import NAME

# Lines of the console, and the seconds after each at which the power goes during the first boot.
FIRST_BOOT = (
    ("Running /scripts/init-bottom", 0.3),  # The state partition grows, and its folders are made.
    ("Running /scripts/init-bottom", 1.5),
    ("Running /scripts/init-bottom", 4.0),
    ("smart-meter-keys", 0.5),
    ("smart-meter-site", 0.5),  # Its files are staged, then renamed.
    ("smart-meter-site", 3.0),
    ("smart-meter-site", 8.0),
    ("NetworkManager", 1.0),
)
CUTS_OF_PLAYBOOKS = (
    ("site.yml", "network", 3.0),
    ("site.yml", "firewall", 2.0),
    ("configure.yml", "concentrator", 1.0),
    ("configure.yml", "concentrator", 4.0),
)
CUTS_OF_WORK = 8
CUTS_OF_CONTROL = 3
# Acknowledged only when it is on the card.
IMMEDIATE: dict[str, Any] = {"concentrator_history_commit_interval": 0}


@dataclass
class Power:
    """A site whose power goes again and again."""

    site: Site
    random: random.Random = field(default_factory=lambda: random.Random(13))  # noqa: S311 - moments, not secrets
    written: int = 1
    acknowledged: set[int] = field(default_factory=set)
    boots: list[float] = field(default_factory=list)

    def cut_during_boot(self, line: str, seconds: float) -> None:
        """Switch the Pi on, and cut its power some seconds after a line of its console."""
        pi = self.site.pi
        shown = _size(pi.console_log)
        pi.switch_on()
        pi.wait_for(lambda: line in _since(pi.console_log, shown), BOOT_SECONDS, f"does not show {line!r}")
        time.sleep(seconds)
        pi.power_cut()

    def serves_without_a_hand(self) -> None:
        """Switch the Pi on after a cut, and wait for its reply to the Opta."""
        self.boots.append(self.site.boot())
        print(f"boot {len(self.boots)}: {self.boots[-1]:.0f} s to the first reply")

    def write_and_cut(self) -> None:
        """Cut the power while the ESP32 writes."""
        command = [sys.executable, "-m", "tests.image.esp32", str(self.written), "0.15"]
        with self.site.lab.popen("field", command, cwd=REPOSITORY) as process:
            assert process.stdout is not None
            assert process.stdout.readline(), process.communicate()
            time.sleep(self.random.uniform(2, 12))
            self.site.pi.power_cut()
            acknowledged = [self.written, *_numbers(process)]
        self.acknowledged.update(acknowledged)
        # The next one may have been sent, and stored without an acknowledgement.
        self.written = max(acknowledged) + 2

    def lost(self) -> set[int]:
        """Return the acknowledged samples that the history does not have."""
        command = ["smart-meter", "history", "--format", "json"]
        lines = self.site.pi.run(command).stdout.splitlines()
        return self.acknowledged - {int(json.loads(line)["values"]["P_ac"]) for line in lines}


def _numbers(process: Popen[str]) -> list[int]:
    # Its connection has no other end any more; it would wait for its time-out.
    process.kill()
    assert process.stdout is not None
    return [int(line) for line in process.stdout.read().splitlines()]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _since(path: Path, size: int) -> str:
    with path.open("rb") as file:
        file.seek(size)
        return file.read().decode(errors="replace")


@pytest.fixture(scope="module")
def power() -> Iterator[Power]:
    with site("image_power", IMAGE, **IMMEDIATE) as here:
        here.pi.flushes = Flushes.HONOURED
        here.pi.put_on_card(SITE_CARD, here.make_card())
        yield Power(here)


def test_the_first_boot_can_be_cut_anywhere(power: Power) -> None:
    for line, seconds in FIRST_BOOT:
        power.cut_during_boot(line, seconds)

    power.serves_without_a_hand()

    here = power.site
    here.pi.learn_host_keys()
    assert here.settle() == "running", here.failed()
    assert here.pi.run(["hostname"]).stdout.strip() == NAME
    assert "was applied" in here.answer()
    report = json.loads(here.pi.run(["cat", "/run/smart-meter-image/state.json"]).stdout)
    assert (report["kind"], report["problems"]) == ("state", [])
    assert here.play("site.yml") == 0


@pytest.mark.parametrize(("playbook", "task", "seconds"), CUTS_OF_PLAYBOOKS)
def test_a_playbook_can_be_cut(power: Power, playbook: str, task: str, seconds: float) -> None:
    here = power.site
    site_of = here.controller.site
    site_of["concentrator_name"] = f"cut in {task} after {seconds} s"
    site_of["network_control_dns"] = [f"192.168.2.{power.random.randrange(2, 9)}"]
    here.controller.write()
    with here.controller.started(playbook) as running:
        deadline = time.monotonic() + BOOT_SECONDS
        while f"TASK [{task} :" not in running.output and not running.is_over:
            assert time.monotonic() < deadline, running.output
            time.sleep(0.2)
        time.sleep(seconds)
        assert not running.is_over, f"it was over before the cut:\n{running.output}"
        here.pi.power_cut()

    power.serves_without_a_hand()

    # A change that nobody could confirm was taken back or is continued: either way the next run finishes it.
    here.play("site.yml")
    assert here.play("site.yml") == 0


def test_every_acknowledged_sample_is_there(power: Power) -> None:
    for _ in range(CUTS_OF_WORK):
        power.write_and_cut()
        power.serves_without_a_hand()
        assert power.lost() == set()

    assert len(power.acknowledged) > CUTS_OF_WORK
    assert power.site.failed() == []
    print(f"{len(power.acknowledged)} acknowledged samples, none lost")


def test_the_control_loses_samples_or_does_not_boot(power: Power) -> None:
    here = power.site
    here.power_off()
    here.pi.flushes = Flushes.IGNORED
    power.serves_without_a_hand()
    control = Power(here, written=power.written)

    lost: set[int] = set()
    for _ in range(CUTS_OF_CONTROL):
        control.write_and_cut()
        control.serves_without_a_hand()
        lost |= control.lost()

    print(f"control: {len(lost)} of {len(control.acknowledged)} acknowledged samples lost")
    assert lost
