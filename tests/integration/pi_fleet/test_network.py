"""Wrong gateways on the fleet's first Pi. The tests run in the order of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.controller import Controller, Played
from tests.fleet import NORTH, Fleet
from tests.virtual_pi import Pi

pytestmark = pytest.mark.pi

ROUTER, NOBODY = "192.168.2.1", "192.168.2.254"
BEHIND_ROUTER = "10.55.0.1"
PROFILE = "smart-meter-control.nmconnection"


def provision_with_missing_gateway(controller: Controller) -> Played:
    """Configure a gateway that does not exist for the first Pi."""
    controller.hosts[NORTH]["network_control_gateway"] = NOBODY
    controller.write()
    return controller.playbook("site.yml", "--limit", NORTH, "--tags", "network", check=False)


def gateways(pi: Pi) -> tuple[str, list[str]]:
    """Return the gateway in NetworkManager's profile, and the kernel's gateways."""
    kept = pi.run(["nmcli", "--get-values", "ipv4.gateway", "connection", "show", "smart-meter-control"])
    routes = pi.run(["ip", "route", "show", "default", "dev", "eth0"]).stdout
    return kept.stdout.strip(), re.findall(r"default via (\S+)", routes)


def test_a_gateway_that_does_not_answer_is_reported_and_rolled_back_at_once(fleet: Fleet) -> None:
    before = gateways(fleet.pi(NORTH))

    played = provision_with_missing_gateway(fleet.controller)

    output = " ".join(played.output.split())
    assert played.count(NORTH, "failed") == 1, played.output
    assert f"network_control_gateway: {NOBODY} does not answer on eth0; give the router's address" in output
    assert "the network change was rolled back by the Pi" in output
    assert gateways(fleet.pi(NORTH)) == before
    assert fleet.controller.ssh(fleet.pi(NORTH), "true").returncode == 0


@pytest.fixture
def behind_the_router(fleet: Fleet) -> Iterator[Controller]:
    """Let the operator connect from another network, which the Pi only reaches through its gateway."""
    pi, controller, variables = fleet.pi(NORTH), fleet.controller, fleet.controller.hosts[NORTH]
    fleet.labs[NORTH].run("control", ["ip", "address", "add", f"{BEHIND_ROUTER}/32", "dev", "lo"])
    pi.link("uplink0").down()
    pi.run(["nmcli", "connection", "modify", "smart-meter-control", "ipv4.gateway", ROUTER])
    pi.run(["nmcli", "connection", "up", "smart-meter-control"])
    # As if it had been provisioned: after a rollback, the guard restores what differs from its copy.
    pi.run(["cp", f"/etc/NetworkManager/system-connections/{PROFILE}", "/var/lib/smart-meter-guard/profiles"])
    pi.run(["ufw", "allow", "in", "proto", "tcp", "from", BEHIND_ROUTER, "to", "any", "port", "22"])
    options = f"-o UserKnownHostsFile={controller.known_hosts} -o BindAddress={BEHIND_ROUTER}"
    variables["ansible_ssh_extra_args"] = options
    variables["firewall_ssh_from"] = ["192.168.2.0/24", BEHIND_ROUTER]
    yield controller
    for name in ("ansible_ssh_extra_args", "firewall_ssh_from", "network_control_gateway"):
        variables.pop(name, None)
    controller.write()
    pi.link("uplink0").up()


def test_a_gateway_that_cuts_off_the_controller_is_rolled_back(
    fleet: Fleet, behind_the_router: Controller
) -> None:
    before = gateways(fleet.pi(NORTH))

    played = provision_with_missing_gateway(behind_the_router)

    assert played.count(NORTH, "failed") == 1, played.output
    output = " ".join(played.output.split())
    assert "the network change was rolled back by the Pi, and it answers at 192.168.2.100 as before" in output
    assert "Activate | Reconnect" in output
    assert gateways(fleet.pi(NORTH)) == before
    connect = f"import socket; socket.create_connection(('192.168.2.100', 22), 3, ('{BEHIND_ROUTER}', 0))"
    assert fleet.labs[NORTH].run("control", ["python3", "-c", connect]).returncode == 0
