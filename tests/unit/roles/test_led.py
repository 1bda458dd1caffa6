"""smart-meter-led: which pattern it gives the activity LED, and when; the unit and the rule that run it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import provisioned, that_would_be_written, that_would_run
from tools.image.state.boot import Report

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.health import Health
from smart_meter.config import Config
from smart_meter.doctor.led import LED, RULE, STATES, collect
from smart_meter.runtime import state_file
from smart_meter.site_card.record import PATH as APPLIED
from smart_meter.site_card.target import IMAGE_NAMES

GOLDEN = REPOSITORY / "tests/unit/roles/golden/default"
SCRIPT = GOLDEN / "usr/local/sbin/smart-meter-led"
UNIT = GOLDEN / "etc/systemd/system/smart-meter-led.service"
FILES = {
    "/usr/local/sbin/smart-meter-led",
    "/etc/systemd/system/smart-meter-led.service",
    str(RULE),
}
# In ms: on, off, on, off, ...
BLINKS = {
    "unread": [1800, 200],
    "stale": [1000, 1000],
    "card": [1000, 300, 200, 1000],
    "down": [200, 200],
}


def state(health: str) -> str:
    """Return what the service writes, with this health."""
    concentrator = Concentrator(Config(), lambda _: None, lambda: 100.0, lambda: 1.7e9)
    record = state_file.record(concentrator, started=90.0, port=502, history=None)
    return json.dumps({**record, "health": health})


class Led:
    """The script in a folder with a LED that takes everything, like sysfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.led = folder / "sys/class/leds/ACT"
        for place in (self.led, folder / "bin", folder / "run/smart-meter"):
            place.mkdir(parents=True)
        (self.led / "max_brightness").write_text("1\n")
        for name in ("trigger", "brightness", "pattern"):
            (self.led / name).write_text("")
        self.refused = False
        self.name = "pi-north"
        self.errors = ""

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def serve(self, health: str) -> None:
        self.write("run/smart-meter/state.json", state(health))

    def image(self, kind: str = "state", *, applied: bool = True, problems: Sequence[str] = ()) -> None:
        self.write("usr/lib/smart-meter/image", "")
        self.write(
            "run/smart-meter-image/state.json", json.dumps(asdict(Report(kind=kind, problems=list(problems))))
        )
        if applied:
            self.write(APPLIED.lstrip("/"), "{}")

    def run(self, *turns: str) -> None:
        """Run it for one turn of its loop, and one more for each command, which is run before it."""
        lines = [f"{number}) {command} ;;" for number, command in enumerate(turns, 1)]
        count = self.folder / "count"
        count.write_text("")
        programs = {
            "sleep": f"echo >> {count}; number=$(wc -l < {count})\n"
            f"[ $number -le {len(turns)} ] || {{ kill $PPID; exit; }}\n"
            f"cd {self.folder}; case $number in {' '.join(lines)} esac",
            "systemctl": f"exit {0 if self.refused else 3}",
            "uname": f"echo {self.name}",
        }
        for name, commands in programs.items():
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{commands}\n")
            (self.folder / "bin" / name).chmod(0o755)
        script = SCRIPT.read_text(encoding="utf-8")
        for place in ("/sys/class", "/run/smart-meter", "/usr/lib/smart-meter", "/var/lib/smart-meter-card"):
            script = script.replace(place, f"{self.folder}{place}")
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            env={"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"},
            timeout=20,
        )
        self.errors = done.stderr

    @property
    def shown(self) -> str:
        """The state, by what the LED does."""
        if self.trigger == "pattern":
            return next((state for state, blinks in BLINKS.items() if blinks == self.blinks), "other")
        return {"none": "good" if self.brightness == "1" else "dark", "heartbeat": "unknown"}[self.trigger]

    @property
    def brightness(self) -> str:
        return (self.led / "brightness").read_text().strip()

    @property
    def trigger(self) -> str:
        return (self.led / "trigger").read_text().strip()

    @property
    def blinks(self) -> list[int]:
        """The pattern's times in ms. It must go from full to dark without dimming."""
        steps = (self.led / "pattern").read_text().split()
        brightness, times = steps[0::2], [int(step) for step in steps[1::2]]
        assert brightness == ["1", "1", "0", "0"] * (len(steps) // 8)
        assert set(times[1::2]) == {0}
        return times[0::2]


@pytest.fixture
def led(tmp_path: Path) -> Led:
    return Led(tmp_path)


def test_with_fresh_values_that_are_read_it_is_steady(led: Led) -> None:
    led.serve("good")
    led.run()

    assert (led.trigger, led.brightness) == ("none", "1")
    assert led.errors == ""


@pytest.mark.parametrize("health", ["stale", "unread"])
def test_what_is_not_good_blinks(led: Led, health: str) -> None:
    led.serve(health)
    led.run()

    assert (led.trigger, led.blinks, led.shown) == ("pattern", BLINKS[health], health)


def test_without_a_service_it_blinks_quickly(led: Led) -> None:
    led.run()

    assert (led.trigger, led.blinks, led.shown) == ("pattern", BLINKS["down"], "down")


def test_when_the_service_ends_the_steady_light_ends(led: Led) -> None:
    """Systemd removes the state file, whatever ended the service (ExecStopPost)."""
    led.serve("good")
    led.run("rm run/smart-meter/state.json")

    assert (led.shown, led.blinks) == ("down", BLINKS["down"])
    service = (GOLDEN / "etc/systemd/system/smart-meter.service").read_text()
    assert "/run/smart-meter/state.json" in "".join(
        line for line in service.splitlines(keepends=True) if line.startswith("ExecStopPost=/usr/bin/rm")
    )


def test_the_kernel_is_asked_only_when_the_state_changes(led: Led) -> None:
    led.serve("stale")
    led.run("echo other > sys/class/leds/ACT/trigger", ":")
    assert led.trigger == "other"

    led.run("echo other > sys/class/leds/ACT/trigger", "rm run/smart-meter/state.json")
    assert led.trigger == "pattern"


@pytest.mark.parametrize("health", ["good", "stale", "unread"])
def test_a_refused_card_comes_before_the_health(led: Led, health: str) -> None:
    led.refused = True
    led.serve(health)
    led.run()

    assert (led.shown, led.blinks) == ("card", BLINKS["card"])


def test_a_service_that_does_not_run_comes_before_the_card(led: Led) -> None:
    led.refused = True
    led.run()

    assert led.shown == "down"


@pytest.mark.parametrize("name", sorted(IMAGE_NAMES))
def test_an_image_without_a_site_card_shows_it(led: Led, name: str) -> None:
    led.image(applied=False)
    led.name = name
    led.serve("stale")
    led.run()

    assert led.shown == "card"


def test_an_image_that_the_controller_has_provisioned_needs_no_card(led: Led) -> None:
    led.image(applied=False)
    led.serve("good")
    led.run()

    assert led.shown == "good"


@pytest.mark.parametrize("kind", ["spare", "memory", "else"])
def test_a_state_partition_that_is_not_in_use_is_the_card_s_fault(led: Led, kind: str) -> None:
    led.image(kind)
    led.serve("good")
    led.run()

    assert led.shown == "card"


@pytest.mark.parametrize("fault", ["kept in memory until the next restart: mount", "read-only: mount"])
def test_a_folder_that_is_not_on_the_state_partition_is_the_card_s_fault(led: Led, fault: str) -> None:
    led.image(problems=[f"/etc is {fault}"])
    led.serve("good")
    led.run()

    assert led.shown == "card"


def test_any_other_problem_of_the_state_partition_does_not_hide_the_health(led: Led) -> None:
    led.image(problems=["the state partition was not grown: no room"])
    led.serve("stale")
    led.run()

    assert led.shown == "stale"


def test_an_image_in_order_and_another_pi_without_a_name_show_their_health(led: Led) -> None:
    led.name = "debian"
    led.serve("good")
    led.run()
    assert led.shown == "good"

    led.image()
    led.run()
    assert led.shown == "good"


@pytest.mark.parametrize(
    "text",
    [
        '{"layout": 1, "pid": 7, "health": "good"}',
        '{"layout": 2, "health": "good"}',
        "good",
        state("x"),
    ],
)
def test_a_state_without_a_known_health_is_unknown(led: Led, text: str) -> None:
    led.write("run/smart-meter/state.json", text)
    led.run()

    assert (led.shown, led.trigger) == ("unknown", "heartbeat")


def test_it_follows_no_link_and_waits_for_no_pipe(led: Led) -> None:
    led.write("elsewhere", state("good"))
    (led.folder / "run/smart-meter/state.json").symlink_to(led.folder / "elsewhere")
    led.run("rm run/smart-meter/state.json; mkfifo run/smart-meter/state.json")

    assert led.shown == "down"


def test_a_pattern_that_the_kernel_refuses_is_reported_once_and_tried_again(led: Led) -> None:
    (led.led / "pattern").unlink()
    (led.led / "pattern").mkdir()
    led.serve("stale")
    led.run(":", ":")
    assert led.errors.count("does not take the pattern") == 1
    assert led.trigger == "none"
    assert led.shown == "dark"

    led.run(":", "rmdir sys/class/leds/ACT/pattern")
    assert led.shown == "stale"


def test_script_unit_and_doctor_mean_the_same_led() -> None:
    assert f"led={LED}\n" in SCRIPT.read_text()
    assert f"ConditionPathExists={LED}\n" in UNIT.read_text()
    [rule] = (GOLDEN / str(RULE).lstrip("/")).read_text().splitlines()[-1:]
    assert f'KERNEL=="{LED.name}"' in rule


def test_a_change_of_the_led_starts_no_service_that_was_stopped() -> None:
    assert (GOLDEN / str(RULE).lstrip("/")).read_text().splitlines()[-1].startswith('ACTION=="add", ')


@pytest.mark.parametrize("health", Health)
def test_the_doctor_knows_what_the_script_shows(led: Led, health: Health) -> None:
    led.serve(health.value)
    led.run()
    (led.led / "trigger").write_text(f"other [{led.trigger}]\n")

    found = collect(led.led, SCRIPT)

    assert found
    assert found.blinks == tuple(BLINKS.get(health.value, []))
    assert set(STATES) == {(), *(tuple(blinks) for blinks in BLINKS.values())}


def test_the_unit_has_one_capability_and_no_network() -> None:
    unit = UNIT.read_text().splitlines()

    assert "CapabilityBoundingSet=CAP_DAC_READ_SEARCH" in unit
    assert {"ProtectSystem=strict", "ProtectKernelTunables=yes", "NoNewPrivileges=yes"} <= set(unit)
    assert [line for line in unit if line.startswith("ReadWritePaths=")] == [f"ReadWritePaths={LED}"]
    assert {"RestrictAddressFamilies=AF_UNIX", "IPAddressDeny=any"} <= set(unit)


def test_no_steady_light_is_left_when_the_script_ends(led: Led) -> None:
    [line] = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStopPost=")]
    command = shlex.split(line.removeprefix("ExecStopPost=").replace("$$", "$"))
    command[-1] = command[-1].replace(str(LED), str(led.led))
    subprocess.run(command, check=True)
    assert led.trigger == "default"

    (led.led / "trigger").unlink()
    (led.led / "trigger").mkdir()
    assert subprocess.run(command, check=False, capture_output=True).stderr == b""


# The role


def look_at(*, led: bool, active: bool = True) -> dict[str, Any]:
    look = provisioned("appliance")
    look["files"][str(LED)] = "irregular" if led else None
    look["units"]["smart-meter-led.service"] = ["active" if active else "inactive", "static"]
    return look


START, STOP = "Live | Show the health on the activity LED", "LED | Give it back to the kernel"
REMOVE = "LED | Remove what shows the health on it"


@pytest.mark.parametrize(
    ("has_led", "active", "settings", "task"),
    [
        (True, True, {}, None),
        (True, False, {}, START),
        (False, False, {}, None),
        (True, True, {"appliance_led": False}, STOP),
        (True, False, {"appliance_led": False}, None),
    ],
)
def test_it_runs_where_there_is_a_led(
    has_led: bool,
    active: bool,
    settings: dict[str, Any],
    task: str | None,
) -> None:
    look = look_at(led=has_led, active=active)

    found = [
        *that_would_run("appliance", look, file="led.yml", __appliance_differs=[], **settings),
        *that_would_run("appliance", look, file="live.yml", __appliance_differs=[], **settings),
    ]

    assert set(found) & {START, STOP} == ({task} if task else set())


def test_it_is_stopped_before_its_unit_is_removed() -> None:
    found = that_would_run("appliance", look_at(led=True), appliance_led=False)

    assert found == [STOP, REMOVE]


def test_a_changed_script_is_restarted() -> None:
    differs = ["/usr/local/sbin/smart-meter-led"]
    found = that_would_run("appliance", look_at(led=True), file="live.yml", __appliance_differs=differs)
    assert START in found
    found = that_would_run("appliance", look_at(led=False), file="live.yml", __appliance_differs=differs)
    assert START not in found


def test_its_files_are_written_on_every_pi_and_removed_where_it_is_not_wanted() -> None:
    fresh = provisioned("appliance")
    fresh["files"] |= dict.fromkeys(FILES)
    fresh["units"]["smart-meter-led.service"] = ["inactive", ""]
    assert set(that_would_be_written("appliance", fresh)) == FILES | {str(RULE.parent)}
    assert that_would_run("appliance", fresh, appliance_led=False) == []

    found = that_would_run("appliance", provisioned("appliance"), appliance_led=False)
    assert found == [STOP, REMOVE]
