"""Concurrent and interrupted upgrades of the fleet's first Pi. The tests run in the order of the file."""

from __future__ import annotations

import os

import pytest
from roles.concentrator.rollout.pi import assembled

from tests.controller import Played
from tests.fleet import NORTH, Fleet
from tests.integration.pi_fleet.story import another_release, opta, release, version, wait_for_moment

pytestmark = pytest.mark.pi

CLAIM = "/run/smart-meter-claim"
WAITS = "waiting for"
UPGRADE = ("site.yml", "--tags", "concentrator", "--limit", NORTH)


def script(fleet: Fleet, name: str, *arguments: str, run: str) -> tuple[int, str]:
    """Run one of the rollout's scripts on the Pi, as a run does; return its exit status and output."""
    command = ["env", f"CONTROLLER={run}", "sh", "-s", "--", *arguments]
    done = fleet.pi(NORTH).run(command, stdin=assembled(name, ""), check=False)
    return done.returncode, done.stdout.strip()


def serves(fleet: Fleet) -> bool:
    """Return whether every read of an Opta is answered."""
    with opta(fleet, NORTH) as reads:
        pass
    return bool(reads["reads"] and reads["lost"] == [])


def test_a_pi_that_another_run_has_claimed_is_refused_with_that_run_s_name(fleet: Fleet) -> None:
    before = release(fleet)
    # The claim of a colleague's laptop, whose processes are not known here.
    assert script(fleet, "claim.sh", "claim", "600", run="anna@elsewhere, process 7") == (0, "")

    with another_release(fleet, "refused", version("3.")):
        played = fleet.controller.playbook(*UPGRADE, "-e", '{"concentrator_claim_patience": 0}', check=False)

    output = " ".join(played.output.split())
    assert played.returncode != 0
    assert (
        f"{NORTH}: anna@elsewhere, process 7 is changing this Pi; wait until that is over (its claim ends in"
        in output
    )
    assert "Nothing was changed" in output
    assert release(fleet) == before
    assert fleet.pi(NORTH).run(["cat", CLAIM]).stdout.endswith("anna@elsewhere, process 7\n"), (
        "the claim changed"
    )


def test_a_configuration_is_not_applied_while_another_run_has_claimed_the_pi(fleet: Fleet) -> None:
    applied = script(fleet, "apply.sh", "60", "", "", "", run="bert@elsewhere, process 8")

    assert applied == (75, "anna@elsewhere, process 7 is provisioning it")


def test_a_run_that_has_lost_its_claim_is_stopped_with_the_new_holder_s_name(fleet: Fleet) -> None:
    assert script(fleet, "claim.sh", "renew", "600", run="bert@elsewhere, process 8") == (
        3,
        "anna@elsewhere, process 7",
    )
    assert script(fleet, "claim.sh", "release", "", run="bert@elsewhere, process 8") == (0, "")
    assert script(fleet, "claim.sh", "claim", "1", run="anna@elsewhere, process 7") == (0, "")
    fleet.pi(NORTH).run(["sleep", "1.1"])
    assert script(fleet, "claim.sh", "claim", "600", run="bert@elsewhere, process 8") == (0, ""), (
        "the expired claim was not replaced"
    )
    assert script(fleet, "claim.sh", "release", "", run="bert@elsewhere, process 8") == (0, "")
    assert not fleet.pi(NORTH).path(CLAIM).exists()


def test_of_two_concurrent_upgrades_the_second_waits_and_both_releases_are_kept(fleet: Fleet) -> None:
    with another_release(fleet, "one", version("4.")), fleet.controller.started(*UPGRADE) as one:
        wait_for_moment(fleet.pi(NORTH).path(CLAIM).exists, one)
        with another_release(fleet, "two", version("5.")):
            # On a busy machine the first run may take longer than the default patience.
            second = fleet.controller.playbook(*UPGRADE, "-e", '{"concentrator_claim_patience": 600}')
        first = one.wait()

    assert first.returncode == 0, first.output
    assert f"{WAITS} root@{os.uname().nodename}, process {one.pid}" in " ".join(second.output.split())
    assert release(fleet).startswith("5.")
    assert release(fleet, "previous").startswith("4.")
    for link in ("current", "previous"):
        assert whole(fleet, release(fleet, link)) == "whole"
    assert serves(fleet)


def whole(fleet: Fleet, name: str) -> str:
    return script(fleet, "whole.sh", name, run="a test")[1]


def test_the_claim_of_a_killed_run_does_not_block_the_same_controller(fleet: Fleet) -> None:
    with fleet.controller.started(*UPGRADE) as killed:
        wait_for_moment(fleet.pi(NORTH).path(CLAIM).exists, killed)
        killed.kill()
    assert fleet.pi(NORTH).path(CLAIM).exists()

    played = fleet.controller.playbook(*UPGRADE)

    assert WAITS not in played.output
    assert not fleet.pi(NORTH).path(CLAIM).exists()


def test_pruning_keeps_the_running_release_and_the_targets_of_the_links(fleet: Fleet) -> None:
    pi = fleet.pi(NORTH)
    needed = {release(fleet), release(fleet, "previous")}
    pi.run(["mkdir", "-p", "/opt/smart-meter/releases/older", "/opt/smart-meter/releases/newest"])
    pi.run(["touch", "-d", "1 hour ago", "/opt/smart-meter/releases/older"])
    # As in a run that has just installed another release.
    assert script(fleet, "prune.sh", "newest", "1", run="a test") == (0, "older")

    left = pi.run(["ls", "/opt/smart-meter/releases"]).stdout.split()
    pi.run(["rmdir", "/opt/smart-meter/releases/newest"])

    assert set(left) == {*needed, "newest"}


def upgrade_with_power_cut(fleet: Fleet) -> Played:
    """Start an upgrade to a release whose unit passes a new option; cut the power once it is activated."""
    pi = fleet.pi(NORTH)
    current = pi.path("/opt/smart-meter/current")
    before = os.readlink(current)
    option = '    run.add_argument("--config", metavar="FILE"'
    accepts = (
        "src/smart_meter/cli/parser.py",
        option,
        f'    run.add_argument("--new", action="store_true")\n{option}',
    )
    passes = (
        "templates/etc/systemd/system/smart-meter.service.j2",
        "smart-meter run --config",
        "smart-meter run --new --config",
    )
    with (
        another_release(fleet, "option", version("6."), accepts, passes),
        fleet.controller.started(*UPGRADE) as upgrade,
    ):
        wait_for_moment(lambda: os.readlink(current) != before, upgrade)
        pi.power_cut()
        pi.power_on()
        return upgrade.wait(300)


def test_after_a_power_cut_in_an_upgrade_the_old_release_runs_with_its_old_unit(fleet: Fleet) -> None:
    before = release(fleet)

    upgrade_with_power_cut(fleet)

    pi = fleet.pi(NORTH)
    assert release(fleet) == before
    assert serves(fleet)
    shown = pi.run(["systemctl", "show", "-p", "NRestarts,NeedDaemonReload,ExecStart", "smart-meter"]).stdout
    assert "NRestarts=0" in shown
    assert "NeedDaemonReload=no" in shown
    assert "--new" not in shown
