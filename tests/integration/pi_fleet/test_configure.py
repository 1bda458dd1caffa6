"""Configurations and releases on a fleet of three Pis. The tests run in the order of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.controller import REPOSITORY, Played
from tests.fleet import NORTH, SECOND, SOUTH, Fleet
from tests.integration.pi_fleet.story import (
    ALL,
    CONFIG,
    another_release,
    opta,
    outcomes,
    release,
    scales,
    set_scale,
    version,
)
from tests.integration.pi_oddities import enable_banner_and_lecture, printing_login_shell

pytestmark = pytest.mark.pi


def drift(fleet: Fleet, *arguments: str) -> Played:
    environment = {
        "ANSIBLE_STDOUT_CALLBACK": "drift",
        "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "playbooks/callback_plugins"),
    }
    return fleet.controller.playbook(
        "drift.yml", "--check", "--diff", *arguments, check=False, env=environment
    )


def test_all_are_provisioned_at_once(fleet: Fleet, provisioned: Played) -> None:
    played = provisioned

    for name in ALL:
        assert played.count(name, "failed") == played.count(name, "unreachable") == 0
    assert scales(fleet) == {name: ["10", "10"] for name in ALL}


def test_a_configuration_without_a_difference_changes_nothing(fleet: Fleet) -> None:
    played = fleet.controller.playbook("configure.yml", "--diff")

    assert outcomes(played) == dict.fromkeys(ALL, "new")
    for name in ALL:
        assert played.count(name, "changed") == 0, played.output


def test_check_mode_shows_the_difference_and_changes_nothing(fleet: Fleet) -> None:
    set_scale(fleet, 100)

    played = fleet.controller.playbook("configure.yml", "--check", "--diff")

    assert played.output.count("-scale = 10\n+scale = 100\n") == 3, played.output
    assert outcomes(played) == dict.fromkeys(ALL, "would")
    assert scales(fleet) == {name: ["10", "10"] for name in ALL}


def test_a_scale_is_changed_on_all_pis_without_dropping_a_connection(fleet: Fleet) -> None:
    # What a login prints as well must not be taken for the Pi's reply.
    enable_banner_and_lecture(fleet.pi(SOUTH))
    with ExitStack() as stack:
        stack.enter_context(printing_login_shell(fleet.pi(SOUTH)))
        optas = [stack.enter_context(opta(fleet, name)) for name in ALL]
        played = fleet.controller.playbook("configure.yml", "--diff")

    assert outcomes(played) == dict.fromkeys(ALL, "new")
    assert scales(fleet) == {name: ["100", "100"] for name in ALL}
    for reads in optas:
        assert reads["reads"] > 10
        assert reads["lost"] == []
    # The operator is at the first site, where the controller proves the change itself. At the other site, a
    # Pi has the same address, so that it has to prove the change itself.
    assert re.search(rf"{NORTH} +new configuration, proven from the controller", played.output)
    assert re.search(rf"{SOUTH} +new configuration, proven from the Pi itself", played.output)
    assert "scale = 10\n" in fleet.pi(SOUTH).run(["cat", f"{CONFIG}.old"]).stdout


def test_configure_writes_the_same_as_provisioning(fleet: Fleet) -> None:
    found = drift(fleet, "--tags", "concentrator")

    assert found.output.strip() == "no drift"
    assert found.returncode == 0


def test_a_change_by_hand_is_shown_as_drift(fleet: Fleet) -> None:
    fleet.pi(SECOND).run(["sed", "-i", "s/^scale = 100$/scale = 1000/", CONFIG])

    found = drift(fleet, "--tags", "concentrator")

    assert found.returncode != 0
    assert "-scale = 1000\n+scale = 100\n" in found.output
    assert SECOND in found.output
    assert NORTH not in found.output
    assert "no drift" not in found.output
    # The next rollout corrects it, since it compares with the Pi's file, not with what was sent before.
    played = fleet.controller.playbook("configure.yml")
    assert played.count(NORTH, "changed") == 0
    assert scales(fleet)[SECOND] == ["100", "100"]


def test_a_change_that_cuts_off_the_reader_stops_at_the_canary_and_is_rolled_back(fleet: Fleet) -> None:
    good = dict(fleet.controller.site)
    set_scale(fleet, 1)
    zones = [
        {"name": "field", "peer": "ESP32", "medium": "WiFi", "interface": "wlan0", "access": "read-write"},
        {"name": "control", "peer": "Opta", "medium": "Ethernet", "interface": "eth0", "access": "read"},
    ]
    # The network of the control zone contains the Pi, but not the controller and the Opta any more.
    networks = [
        {
            "address": "{{ network_field_address | ansible.utils.ipaddr('address') }}",
            "network": "192.168.1.0/24",
        },
        {
            "address": "{{ network_control_address | ansible.utils.ipaddr('address') }}",
            "network": "192.168.2.96/27",
        },
    ]
    fleet.controller.site["concentrator_zones"] = [a | b for a, b in zip(zones, networks, strict=True)]
    fleet.controller.write()

    played = fleet.controller.playbook("configure.yml", check=False)

    fleet.controller.site = good
    fleet.controller.write()
    assert played.returncode != 0
    assert outcomes(played) == dict.fromkeys(ALL, "old")
    assert played.count(NORTH, "failed") == 1
    assert played.count(SECOND, "failed") == played.count(SOUTH, "failed") == 0
    assert "is in no zone of the configuration, so it could not read" in " ".join(played.output.split())
    assert scales(fleet) == {name: ["100", "100"] for name in ALL}
    with opta(fleet, NORTH) as reads:
        pass
    assert reads["lost"] == []


def test_a_pi_that_is_off_is_skipped_and_updated_by_the_next_run(fleet: Fleet) -> None:
    fleet.pi(SECOND).power_off()
    set_scale(fleet, 10)

    played = fleet.controller.playbook("configure.yml")

    assert outcomes(played) == {NORTH: "new", SECOND: "off", SOUTH: "new"}
    fleet.pi(SECOND).power_on()
    assert scales(fleet) == {NORTH: ["10", "10"], SECOND: ["100", "100"], SOUTH: ["10", "10"]}
    played = fleet.controller.playbook("configure.yml")
    assert outcomes(played) == dict.fromkeys(ALL, "new")
    assert played.count(NORTH, "changed") == 0
    assert scales(fleet)[SECOND] == ["10", "10"]


@contextmanager
def refusing_the_key(fleet: Fleet, name: str) -> Iterator[None]:
    """Remove the operator's key from a Pi."""
    keys = "/home/pi/.ssh/authorized_keys"
    fleet.pi(name).run(["mv", keys, f"{keys}.saved"])
    yield
    fleet.pi(name).run(["mv", f"{keys}.saved", keys])


@contextmanager
def with_other_host_keys(fleet: Fleet, name: str) -> Iterator[None]:
    """Change a Pi's host keys, as if it had been flashed again."""
    restart = "systemctl restart ssh"
    new = "mkdir /root/keys; mv /etc/ssh/ssh_host_*_key* /root/keys; ssh-keygen -q -A"
    fleet.pi(name).run(["sh", "-ec", f"{new}; {restart}"])
    yield
    fleet.pi(name).run(["sh", "-ec", f"mv -f /root/keys/* /etc/ssh; rmdir /root/keys; {restart}"])


def test_only_a_pi_that_does_not_answer_counts_as_off(fleet: Fleet, tmp_path: Path) -> None:
    results = tmp_path / "doctor.json"
    # The run before has left connections open, which still work.
    new_connections = {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no"}
    set_scale(fleet, 100)

    with refusing_the_key(fleet, SECOND), with_other_host_keys(fleet, SOUTH):
        played = fleet.controller.playbook("configure.yml", check=False, env=new_connections)
        checked = fleet.controller.playbook(
            "doctor.yml", "-e", f"doctor_results={results}", check=False, env=new_connections
        )

    output = " ".join(played.output.split())
    assert played.returncode != 0
    assert outcomes(played) == {NORTH: "new", SECOND: "not", SOUTH: "not"}
    assert f"{SECOND}: pi@192.168.2.101: Permission denied (publickey" in output
    assert "authorized_keys of that user (ssh-copy-id)" in output
    assert f"{SOUTH}: Host key for {SOUTH} has changed" in output
    assert f"ssh-keygen -R {SOUTH}" in output
    assert scales(fleet) == {NORTH: ["100", "100"], SECOND: ["10", "10"], SOUTH: ["10", "10"]}
    found = {host["name"]: host for host in json.loads(results.read_text())["hosts"]}
    assert {name: host["state"] for name, host in found.items()} == {
        NORTH: "asked",
        SECOND: "failed",
        SOUTH: "failed",
    }
    assert f"BAD {SOUTH}: could not be asked: Host key for {SOUTH} has changed" in " ".join(
        checked.output.split()
    )

    set_scale(fleet, 10)
    fleet.controller.playbook("configure.yml")
    assert scales(fleet) == {name: ["10", "10"] for name in ALL}


def command(fleet: Fleet) -> str:
    """Return the program that `smart-meter` runs on the first Pi."""
    return fleet.pi(NORTH).run(["sh", "-c", 'readlink -f "$(command -v smart-meter)"']).stdout.strip()


def test_a_new_release_is_activated_and_rolled_back_with_its_configuration(fleet: Fleet) -> None:
    before = release(fleet)
    set_scale(fleet, 1000)
    with another_release(fleet, "next", version("9.")):
        fleet.controller.playbook("site.yml", "--tags", "concentrator", "--limit", NORTH)
    assert release(fleet).startswith("9.")
    assert command(fleet) == f"/opt/smart-meter/releases/{release(fleet)}/bin/smart-meter"
    assert release(fleet, "previous") == before
    assert scales(fleet)[NORTH] == ["1000", "1000"]

    fleet.controller.playbook("rollback.yml", "--limit", NORTH)

    assert release(fleet) == before
    assert command(fleet) == f"/opt/smart-meter/releases/{before}/bin/smart-meter"
    assert release(fleet, "previous").startswith("9.")
    assert scales(fleet)[NORTH] == ["10", "10"]


def test_a_release_that_does_not_serve_is_rolled_back_automatically(fleet: Fleet) -> None:
    before = release(fleet)
    set_scale(fleet, 1000)
    start = "def execute(arguments: argparse.Namespace) -> int:\n"
    fails = (
        "src/smart_meter/cli/commands/run.py",
        start,
        f"{start}    raise SystemExit('it is a bad release')\n",
    )
    with another_release(fleet, "bad", fails):
        played = fleet.controller.playbook(
            "site.yml", "--tags", "concentrator", "--limit", NORTH, check=False
        )

    assert played.returncode != 0
    assert "was rolled back" in played.output
    assert "it is a bad release" in played.output
    assert release(fleet) == before
    assert scales(fleet)[NORTH] == ["10", "10"]
    with opta(fleet, NORTH) as reads:
        pass
    assert reads["lost"] == []
