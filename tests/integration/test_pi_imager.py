"""The main job on a Pi as Raspberry Pi Imager writes it. The tests run in the order of the file, on one Pi.

cloud-init has made its user, its host keys and its name, and netplan NetworkManager's profiles.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controller import ADDRESS, REPOSITORY, Played
from tests.integration.pi_story import EXAMPLE, NAME, Story, fresh_pi
from tests.virtual_pi import IMAGER

pytestmark = pytest.mark.pi

PROFILES = {"eth0": "smart-meter-control", "wlan0": "smart-meter-field"}


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with fresh_pi("imager", kind=IMAGER) as story:
        yield story


def profiles(story: Story) -> dict[str, str]:
    """Return the name of the active profile of each zone's interface."""
    listing = story.pi.run(["nmcli", "-t", "-f", "DEVICE,CONNECTION", "device"]).stdout
    active = dict(line.split(":", 1) for line in listing.splitlines())
    return {interface: active[interface] for interface in PROFILES}


def drift(story: Story) -> Played:
    environment = {
        "ANSIBLE_STDOUT_CALLBACK": "drift",
        "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "playbooks/callback_plugins"),
    }
    return story.controller.playbook("drift.yml", "--check", "--diff", check=False, env=environment)


def test_one_playbook_provisions_a_pi_that_cloud_init_has_configured(story: Story) -> None:
    assert profiles(story)["eth0"] == "netplan-eth0"

    played = story.controller.playbook("site.yml")

    assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
    assert profiles(story) == PROFILES
    assert story.write("field", *EXAMPLE).returncode == 0
    assert story.read("control") == EXAMPLE


def test_a_power_cut_right_after_the_first_run_loses_nothing(story: Story) -> None:
    story.pi.power_cut()
    story.pi.power_on()

    story.serves_within(30)
    assert profiles(story) == PROFILES
    assert story.pi.run(["hostname"]).stdout.strip() == NAME


def test_a_second_run_changes_nothing(story: Story) -> None:
    assert story.controller.playbook("site.yml").count(NAME, "changed") == 0


def test_a_network_change_to_an_unreachable_address_is_undone(story: Story) -> None:
    wrong = "network_control_address=192.168.3.100/24"

    played = story.controller.playbook("site.yml", "--tags", "network", "-e", wrong, check=False)

    assert played.count(NAME, "failed") == 1, played.output
    output = " ".join(played.output.split())
    assert f"the network change was rolled back by the Pi, and it answers at {ADDRESS} as before" in output
    assert profiles(story) == PROFILES
    assert story.read("control") != []


def test_after_a_reboot_cloud_init_has_changed_nothing_that_is_ours(story: Story) -> None:
    story.pi.reboot()
    story.serves_within(30)

    found = drift(story)

    assert found.output.strip() == "no drift"
    assert found.returncode == 0
    assert profiles(story) == PROFILES


def test_verify_and_the_doctor_find_nothing_wrong(story: Story) -> None:
    assert "BAD" not in story.controller.playbook("verify.yml").output
