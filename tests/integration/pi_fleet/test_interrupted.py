"""Interrupted, concurrent and refused rollouts. The tests run in the order of the file."""

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
    consistent_scales,
    outcomes,
    set_scale,
    wait_for_moment,
)
from tests.virtual_pi import Pi

pytestmark = pytest.mark.pi

GUARD = "/var/lib/smart-meter-guard"
UNDECIDED = f"{GUARD}/configuration/paths"
SECONDS = 8
"""Seconds until a Pi rolls back an unconfirmed change, instead of a minute."""
QUICK_ROLLBACK = ("configure.yml", "-e", json.dumps({"concentrator_confirm_seconds": SECONDS}))
WAITS = "waiting until that is decided"
GUARD_MARGIN = 10
"""Additional seconds that this may take on a busy machine."""


def begun(fleet: Fleet, name: str, _: Running) -> Callable[[], bool]:
    """Return a condition: the change has begun, but nothing is written yet."""
    return fleet.pi(name).path(UNDECIDED).exists


def applied(fleet: Fleet, name: str, _: Running) -> Callable[[], bool]:
    """Return a condition: the service runs with the new file, which is not proven yet."""
    undecided, running, config = (fleet.pi(name).path(path) for path in (UNDECIDED, RUNNING, CONFIG))
    before = running.read_text()
    return lambda: undecided.exists() and before != running.read_text() == config.read_text()


def proven(fleet: Fleet, name: str, controller: Running) -> Callable[[], bool]:
    """Return a condition: the controller has read from the service and closed the connection, no more."""
    there = "".join(f"{int(part):02X}" for part in reversed(ADDRESSES[name].split("."))) + ":01F6"

    def closed(table: str) -> set[str]:
        rows = (line.split() for line in table.splitlines()[1:])
        # TIME_WAIT in Linux's net/tcp_states.h. It lasts a minute, so some connections may be older.
        return {row[1] for row in rows if row[2] == there and row[3] == "06"}

    before = closed(fleet.labs[name].run("control", ["cat", "/proc/net/tcp"]).stdout)
    table = Path(f"/proc/{controller.pid}/net/tcp")
    return lambda: bool(closed(table.read_text()) - before)


@pytest.mark.parametrize(
    ("scale", "name", "moment"),
    [
        pytest.param(20, NORTH, applied, id="between apply and proof"),
        pytest.param(30, NORTH, proven, id="between proof and confirm"),
        pytest.param(40, SECOND, begun, id="while the second applies"),
    ],
)
def test_a_killed_controller_leaves_each_pi_with_the_old_or_the_new_configuration(
    fleet: Fleet, scale: int, name: str, moment: Callable[[Fleet, str, Running], Callable[[], bool]]
) -> None:
    before = consistent_scales(fleet)
    set_scale(fleet, scale)
    with fleet.controller.started(*QUICK_ROLLBACK) as controller:
        wait_for_moment(moment(fleet, name, controller), controller)
        controller.kill()

    wait_for_rollback(fleet.pi(name))

    assert consistent_scales(fleet) == {
        **before,
        name: before[name],
        **({NORTH: scale} if name == SECOND else {}),
    }
    assert "PLAY RECAP" not in controller.output


def wait_for_rollback(pi: Pi) -> None:
    """Wait until a Pi has rolled back its unconfirmed change. Fails if that is late."""
    pi.wait_for(lambda: not pi.path(f"{GUARD}/configuration").exists(), SECONDS + GUARD_MARGIN, "waits")


def test_the_next_run_brings_all_pis_to_the_new_configuration(fleet: Fleet) -> None:
    played = fleet.controller.playbook("configure.yml")

    assert outcomes(played) == dict.fromkeys(ALL, "new")
    assert consistent_scales(fleet) == dict.fromkeys(ALL, 40)


def test_the_next_run_waits_until_the_pi_has_rolled_back(fleet: Fleet) -> None:
    set_scale(fleet, 50)
    with fleet.controller.started(*QUICK_ROLLBACK) as controller:
        wait_for_moment(applied(fleet, NORTH, controller), controller)
        controller.kill()

    played = fleet.controller.playbook("configure.yml")

    assert WAITS in " ".join(played.output.split())
    assert outcomes(played) == dict.fromkeys(ALL, "new")
    assert consistent_scales(fleet) == dict.fromkeys(ALL, 50)


def test_a_power_cut_during_a_change_restores_the_old_configuration(fleet: Fleet) -> None:
    pi = fleet.pi(NORTH)
    set_scale(fleet, 60)
    with fleet.controller.started("configure.yml") as controller:
        config, before = pi.path(CONFIG), pi.path(CONFIG).read_text()
        wait_for_moment(lambda: config.read_text() != before, controller)
        pi.power_cut()
        pi.power_on()

        assert consistent_scales(fleet) == dict.fromkeys(ALL, 50)
        assert not pi.path(f"{GUARD}/configuration").exists()
        played = controller.wait()
    assert played.returncode != 0
    assert outcomes(played) == {NORTH: "old", SECOND: "old", SOUTH: "old"}
    fleet.controller.playbook("configure.yml")
    assert consistent_scales(fleet) == dict.fromkeys(ALL, 60)


@pytest.mark.parametrize("cut", [20, 200], ids=["within its end", "within the text"])
def test_an_incomplete_configuration_is_not_applied(fleet: Fleet, cut: int) -> None:
    pi = fleet.pi(NORTH)
    text = pi.path(CONFIG).read_text().replace("scale = 60", "scale = 61")
    received = assembled("apply.sh", text)[:-cut]
    wanted = hashlib.sha256(text.encode()).hexdigest()

    done = pi.run(["env", "CONTROLLER=a test", "sh", "-s", "60", wanted, "", ""], stdin=received, check=False)

    assert "nothing was changed" in done.stdout
    assert consistent_scales(fleet) == dict.fromkeys(ALL, 60)


@contextmanager
def guard_locked(pi: Pi) -> Iterator[None]:
    """Hold the guard's lock, so that it neither begins, confirms nor rolls back a change meanwhile."""
    with pi.path(f"{GUARD}/lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_with_two_controllers_the_second_one_waits_and_is_refused(fleet: Fleet) -> None:
    set_scale(fleet, 70)
    with ExitStack() as stack:
        first = stack.enter_context(fleet.controller.started("configure.yml"))
        wait_for_moment(applied(fleet, NORTH, first), first)
        with guard_locked(fleet.pi(NORTH)):
            set_scale(fleet, 80)
            second = stack.enter_context(fleet.controller.started("configure.yml"))
            wait_for_moment(lambda: WAITS in " ".join(second.output.split()), second)
        confirmed, refused = first.wait(), second.wait()

    assert outcomes(confirmed) == dict.fromkeys(ALL, "new")
    assert confirmed.returncode == 0
    assert refused.returncode != 0
    assert "another run has changed its configuration meanwhile" in " ".join(refused.output.split())
    assert outcomes(refused)[NORTH] == "not"
    assert consistent_scales(fleet) == dict.fromkeys(ALL, 70)


@pytest.mark.parametrize(
    ("variable", "value", "current", "arguments"),
    [
        ("concentrator_port", 1502, "502", []),
        ("concentrator_host", "192.168.2.100", "0.0.0.0", ["--check"]),  # noqa: S104 - as in the message
    ],
)
def test_what_a_reload_can_t_change_is_refused_before_any_pi_is_touched(
    fleet: Fleet, variable: str, value: Any, current: str, arguments: list[str]
) -> None:
    fleet.controller.hosts[SOUTH][variable] = value
    fleet.controller.write()

    played = fleet.controller.playbook("configure.yml", *arguments, check=False)

    del fleet.controller.hosts[SOUTH][variable]
    fleet.controller.write()
    assert played.returncode != 0
    output = " ".join(played.output.split())
    assert f"host_vars/{SOUTH}.yml" in output
    assert f"{variable}: is {value}, and the Pi has {current}: " in output
    assert f"run make provision LIMIT={SOUTH}" in output
    assert "Apply |" not in output
    assert consistent_scales(fleet) == dict.fromkeys(ALL, 70)


def test_a_guard_of_an_older_release_is_reported_before_anything_is_written(fleet: Fleet) -> None:
    pi = fleet.pi(NORTH)
    program = "/usr/local/sbin/smart-meter-guard"
    # An older guard would restore the file, but not reload the service.
    pi.run(["sed", "-i.new", "s/^    supports | knows)$/    unheard-of)/", program])

    played = fleet.controller.playbook("configure.yml", check=False)

    pi.run(["mv", f"{program}.new", program])
    assert "is of an older release" in played.output
    assert "run make provision for it once" in " ".join(played.output.split())
    assert outcomes(played) == {NORTH: "not", SECOND: "old", SOUTH: "old"}
    assert consistent_scales(fleet) == dict.fromkeys(ALL, 70)
    assert outcomes(fleet.controller.playbook("configure.yml")) == dict.fromkeys(ALL, "new")
    assert consistent_scales(fleet) == dict.fromkeys(ALL, 80)
