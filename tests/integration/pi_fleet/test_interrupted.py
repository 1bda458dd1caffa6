"""Rollouts that are broken off, meet each other, or ask for what can't be: told in the order of the file."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from roles.concentrator.rollout.pi import assembled

from tests.controller import Running
from tests.fleet import ADDRESSES, NORTH, SECOND, SOUTH, Fleet
from tests.integration.pi_fleet.story import (
    ALL,
    CONFIG,
    RUNNING,
    all_have,
    outcomes,
    set_scale,
    when,
)
from tests.virtual_pi import Pi

pytestmark = pytest.mark.pi

GUARD = "/var/lib/smart-meter-guard"
UNDECIDED = f"{GUARD}/configuration/paths"
SECONDS = 8
"""In which a Pi goes back, instead of a minute."""
SOON_BACK = ("configure.yml", "-e", json.dumps({"concentrator_confirm_seconds": SECONDS}))
WAITS = "waiting until that is decided"
GUARDS_TURN = 10
"""Seconds more that this may take on a machine that is busy."""


def taking(fleet: Fleet, name: str, _: Running) -> Callable[[], bool]:
    """Whether the change has begun: nothing is written yet."""
    return fleet.pi(name).path(UNDECIDED).exists


def taken(fleet: Fleet, name: str, _: Running) -> Callable[[], bool]:
    """Whether the service runs with the new file, which nobody has proven yet."""
    undecided, running, config = (fleet.pi(name).path(path) for path in (UNDECIDED, RUNNING, CONFIG))
    before = running.read_text()
    return lambda: undecided.exists() and before != running.read_text() == config.read_text()


def proven(fleet: Fleet, name: str, controller: Running) -> Callable[[], bool]:
    """Whether the controller has asked the service, and hung up: it has told nobody yet."""
    there = "".join(f"{int(part):02X}" for part in reversed(ADDRESSES[name].split("."))) + ":01F6"

    def hung_up(table: str) -> set[str]:
        rows = (line.split() for line in table.splitlines()[1:])
        # TIME_WAIT of Linux's net/tcp_states.h, which lasts a minute: some may be from before.
        return {row[1] for row in rows if row[2] == there and row[3] == "06"}

    before = hung_up(fleet.labs[name].run("control", ["cat", "/proc/net/tcp"]).stdout)
    table = Path(f"/proc/{controller.pid}/net/tcp")
    return lambda: bool(hung_up(table.read_text()) - before)


@pytest.mark.parametrize(
    ("scale", "name", "moment"),
    [
        pytest.param(20, NORTH, taken, id="between take and proof"),
        pytest.param(30, NORTH, proven, id="between proof and keep"),
        pytest.param(40, SECOND, taking, id="while the second takes"),
    ],
)
def test_a_killed_controller_leaves_each_pi_with_the_old_or_with_the_new(
    fleet: Fleet, scale: int, name: str, moment: Callable[[Fleet, str, Running], Callable[[], bool]]
) -> None:
    before = all_have(fleet)
    set_scale(fleet, scale)
    with fleet.controller.started(*SOON_BACK) as controller:
        when(moment(fleet, name, controller), controller)
        controller.kill()

    goes_back(fleet.pi(name))

    assert all_have(fleet) == {**before, name: before[name], **({NORTH: scale} if name == SECOND else {})}
    assert "PLAY RECAP" not in controller.output


def goes_back(pi: Pi) -> None:
    """Wait until a Pi has taken its undecided change back by itself, as soon as it said that it would."""
    pi.wait_for(lambda: not pi.path(f"{GUARD}/configuration").exists(), SECONDS + GUARDS_TURN, "waits")


def test_the_next_run_brings_all_to_the_new_one(fleet: Fleet) -> None:
    played = fleet.controller.playbook("configure.yml")

    assert outcomes(played) == dict.fromkeys(ALL, "new")
    assert all_have(fleet) == dict.fromkeys(ALL, 40)


def test_the_next_run_waits_where_the_pi_has_not_gone_back_yet(fleet: Fleet) -> None:
    set_scale(fleet, 50)
    with fleet.controller.started(*SOON_BACK) as controller:
        when(taken(fleet, NORTH, controller), controller)
        controller.kill()

    played = fleet.controller.playbook("configure.yml")

    assert WAITS in " ".join(played.output.split())
    assert outcomes(played) == dict.fromkeys(ALL, "new")
    assert all_have(fleet) == dict.fromkeys(ALL, 50)


def test_a_pi_that_loses_its_power_while_it_takes_has_the_old_one_at_the_next_boot(fleet: Fleet) -> None:
    pi = fleet.pi(NORTH)
    set_scale(fleet, 60)
    with fleet.controller.started("configure.yml") as controller:
        config, before = pi.path(CONFIG), pi.path(CONFIG).read_text()
        when(lambda: config.read_text() != before, controller)
        pi.power_cut()
        pi.power_on()

        assert all_have(fleet) == dict.fromkeys(ALL, 50)
        assert not pi.path(f"{GUARD}/configuration").exists()
        played = controller.wait()
    assert played.returncode != 0
    assert outcomes(played) == {NORTH: "old", SECOND: "old", SOUTH: "old"}
    fleet.controller.playbook("configure.yml")
    assert all_have(fleet) == dict.fromkeys(ALL, 60)


@pytest.mark.parametrize("cut", [20, 200], ids=["within its end", "within the text"])
def test_a_configuration_that_came_in_part_is_not_taken(fleet: Fleet, cut: int) -> None:
    pi = fleet.pi(NORTH)
    text = pi.path(CONFIG).read_text().replace("scale = 60", "scale = 61")
    came = assembled("apply.sh", text)[:-cut]
    wanted = hashlib.sha256(text.encode()).hexdigest()

    done = pi.run(["env", "CONTROLLER=a test", "sh", "-s", "60", wanted, "", ""], stdin=came, check=False)

    assert "nothing was changed" in done.stdout
    assert all_have(fleet) == dict.fromkeys(ALL, 60)


@contextmanager
def held(pi: Pi) -> Iterator[None]:
    """Hold the guard's own lock, so that nothing on the Pi is begun, kept or taken back meanwhile."""
    with pi.path(f"{GUARD}/lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_of_two_controllers_at_once_the_second_waits_and_is_refused(fleet: Fleet) -> None:
    set_scale(fleet, 70)
    with ExitStack() as stack:
        first = stack.enter_context(fleet.controller.started("configure.yml"))
        when(taken(fleet, NORTH, first), first)
        with held(fleet.pi(NORTH)):
            set_scale(fleet, 80)
            second = stack.enter_context(fleet.controller.started("configure.yml"))
            when(lambda: WAITS in " ".join(second.output.split()), second)
        kept, refused = first.wait(), second.wait()

    assert outcomes(kept) == dict.fromkeys(ALL, "new")
    assert kept.returncode == 0
    assert refused.returncode != 0
    assert "another run has changed its configuration meanwhile" in " ".join(refused.output.split())
    assert outcomes(refused)[NORTH] == "not"
    assert all_have(fleet) == dict.fromkeys(ALL, 70)


@pytest.mark.parametrize(
    ("variable", "value", "has_been", "arguments"),
    [
        ("concentrator_port", 1502, "502", []),
        ("concentrator_host", "192.168.2.100", "0.0.0.0", ["--check"]),  # noqa: S104 - as it is told.
    ],
)
def test_what_a_reload_can_t_change_on_one_pi_is_refused_before_any_is_touched(
    fleet: Fleet, variable: str, value: Any, has_been: str, arguments: list[str]
) -> None:
    fleet.controller.hosts[SOUTH][variable] = value
    fleet.controller.write()

    played = fleet.controller.playbook("configure.yml", *arguments, check=False)

    del fleet.controller.hosts[SOUTH][variable]
    fleet.controller.write()
    assert played.returncode != 0
    said = " ".join(played.output.split())
    assert f"host_vars/{SOUTH}.yml" in said
    assert f"{variable}: is {value}, and the Pi has {has_been}: " in said
    assert f"run make provision LIMIT={SOUTH}" in said
    assert "Apply |" not in said
    assert all_have(fleet) == dict.fromkeys(ALL, 70)


def test_a_guard_of_an_older_release_is_told_before_anything_is_written(fleet: Fleet) -> None:
    pi = fleet.pi(NORTH)
    program = "/usr/local/sbin/smart-meter-guard"
    # One that did not know of configurations yet: it would put the file back and tell the service nothing.
    pi.run(["sed", "-i.new", "s/^    supports | knows)$/    unheard-of)/", program])

    played = fleet.controller.playbook("configure.yml", check=False)

    pi.run(["mv", f"{program}.new", program])
    assert "is of an older release" in played.output
    assert "run make provision for it once" in " ".join(played.output.split())
    assert outcomes(played) == {NORTH: "not", SECOND: "old", SOUTH: "old"}
    assert all_have(fleet) == dict.fromkeys(ALL, 70)
    assert outcomes(fleet.controller.playbook("configure.yml")) == dict.fromkeys(ALL, "new")
    assert all_have(fleet) == dict.fromkeys(ALL, 80)
