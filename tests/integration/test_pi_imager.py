"""The main job on a Pi as Raspberry Pi Imager writes it. The tests run in the order of the file, on one Pi.

cloud-init has made its user, its host keys and its name, and netplan NetworkManager's profiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.controller import ADDRESS, REPOSITORY, Played
from tests.integration.pi_doctor import until, write_and_read
from tests.integration.pi_story import EXAMPLE, NAME, Story, fresh_pi
from tests.virtual_pi import IMAGER

pytestmark = pytest.mark.pi

PROFILES = {"eth0": "smart-meter-control", "wlan0": "smart-meter-field"}
# As Raspberry Pi OS's NetworkManager stores what `nmcli connection add` makes. Each would win by priority.
NETPLAN = """\
network:
  version: 2
  ethernets:
    NM-{uuid}:
      renderer: NetworkManager
      match: {{{match}}}
      dhcp4: true
      networkmanager:
        uuid: "{uuid}"
        name: "{name}"
        passthrough:
          connection.autoconnect-priority: "999"
"""
RIVALS = {"office": "name: eth0", "any": "", "by-address": 'macaddress: "{mac}"'}


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with fresh_pi("imager", kind=IMAGER) as story:
        yield story


def profiles(story: Story) -> dict[str, str]:
    """Return the name of the active profile of each zone's interface."""
    listing = story.pi.run(["nmcli", "-t", "-f", "DEVICE,CONNECTION", "device"]).stdout
    active = dict(line.split(":", 1) for line in listing.splitlines())
    return {interface: active[interface] for interface in PROFILES}


def store_in_netplan(story: Story, name: str, uuid: str, match: str) -> None:
    text = NETPLAN.format(name=name, uuid=uuid, match=match)
    story.pi.run(["install", "-m", "600", "/dev/stdin", f"/etc/netplan/90-NM-{uuid}.yaml"], stdin=text)


def add_rivals(story: Story) -> None:
    mac = story.pi.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
    for place, (name, match) in enumerate(RIVALS.items()):
        store_in_netplan(story, name, f"00000000-0000-4000-8000-00000000000{place}", match.format(mac=mac))
    story.pi.run(["netplan", "generate"])
    story.pi.run(["nmcli", "connection", "reload"])


def drift(story: Story) -> Played:
    environment = {
        "ANSIBLE_STDOUT_CALLBACK": "drift",
        "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "playbooks/callback_plugins"),
    }
    return story.controller.playbook("drift.yml", "--check", "--diff", check=False, env=environment)


def test_one_playbook_provisions_a_pi_that_cloud_init_has_configured(story: Story) -> None:
    assert profiles(story)["eth0"] == "netplan-eth0"
    add_rivals(story)
    assert set(RIVALS) <= set(story.pi.run(["nmcli", "-g", "NAME", "connection"]).stdout.splitlines())

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


def doctor_finds(story: Story, *names: str) -> dict[str, dict[str, str]]:
    """Run the doctor until only these checks are not good, and return all."""
    write_and_read(story)
    return until(story, lambda report: report.bad() == set(names))


def test_verify_and_the_doctor_only_find_imager_s_passphrase(story: Story) -> None:
    assert "BAD" not in story.controller.playbook("verify.yml").output
    report = doctor_finds(story, "boot partition")
    assert report["boot partition"]["found"] == "/boot/firmware/network-config: has a Wi-Fi passphrase"


def test_the_passphrase_is_removed_by_inventory_choice(story: Story) -> None:
    chosen = ("--tags", "network", "-e", '{"appliance_remove_imager_secrets": true}')

    assert story.controller.playbook("site.yml", *chosen).count(NAME, "changed") == 1

    doctor_finds(story)
    files = story.pi.run(["ls", "/boot/firmware"]).stdout.split()
    assert sorted(files) == ["meta-data", "network-config", "user-data"]


def test_after_a_reboot_cloud_init_has_changed_nothing_that_is_ours(story: Story) -> None:
    story.pi.reboot()
    story.serves_within(30)

    found = drift(story)

    assert found.output.strip() == "no drift"
    assert found.returncode == 0
    assert profiles(story) == PROFILES
    settings = story.pi.run(["systemd-analyze", "cat-config", "systemd/system.conf"]).stdout
    assert re.findall(r"(?m)^RuntimeWatchdogSec=(.*)$", settings)[-1] == "16"


def test_a_new_instance_of_cloud_init_takes_no_interface(story: Story) -> None:
    # cloud-init makes the user, the time zone and netplan's files again.
    story.pi.run(["sh", "-c", "echo 'instance-id: again' >> /boot/firmware/meta-data"])
    # NetworkManager would use this instead of ours.
    file = story.pi.run(["cat", "/etc/NetworkManager/system-connections/smart-meter-control.nmconnection"])
    [uuid] = re.findall(r"(?m)^uuid=(.*)$", file.stdout)
    store_in_netplan(story, "hides ours", uuid, "name: eth0")

    story.pi.reboot()

    story.serves_within(30)
    assert profiles(story) == PROFILES
    assert story.pi.run(["cat", "/var/lib/cloud/data/instance-id"]).stdout.strip() == "again"
    assert story.pi.run(["test", "-e", f"/etc/netplan/90-NM-{uuid}.yaml"], check=False).returncode == 1
    doctor_finds(story)
