"""The zones' network profiles: rivals, damage, and failed or interrupted changes. In the file's order."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.controller import ADDRESS, FIELD_ADDRESS
from tests.integration.pi_story import NAME, Story, fresh_pi

pytestmark = pytest.mark.pi

FOLDER = "/etc/NetworkManager/system-connections"
COPIES = "/var/lib/smart-meter-guard/profiles"
CONFIRMED = "/etc/NetworkManager/conf.d/91-smart-meter.conf"
ZONES = {"eth0": "control", "wlan0": "field"}
# As an installer or a user may have left them: each would win by its priority, or by what it is bound to.
RIVALS = {
    "office": "interface-name=eth0\nautoconnect-priority=999",
    "any": "autoconnect-priority=998",
    "by-address": "autoconnect-priority=999\n[ethernet]\nmac-address={mac}",
    "run/passing": "interface-name=wlan0\nautoconnect-priority=999",
}


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with fresh_pi("profiles") as story:
        yield story


def add_rivals(story: Story) -> None:
    """Write profiles of others to the disk, and to the folder in memory that netplan uses."""
    mac = story.pi.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
    for place, settings in RIVALS.items():
        folder, _, name = place.rpartition("/")
        path = f"/{folder or 'etc'}/NetworkManager/system-connections/{name}.nmconnection"
        connection = f"[connection]\nid={name}\ntype=ethernet\n{settings.format(mac=mac)}\n"
        text = f"{connection}[ipv4]\nmethod=auto\n[ipv6]\nmethod=disabled\n"
        story.pi.run(["install", "-D", "-m", "600", "/dev/stdin", path], stdin=text)
    story.pi.run(["nmcli", "connection", "reload"])


def assert_ours_run(story: Story) -> None:
    """Assert that NetworkManager uses our files, and runs them on the zones' interfaces."""
    for interface, zone in ZONES.items():
        path = f"{FOLDER}/smart-meter-{zone}.nmconnection"
        [uuid] = re.findall(r"(?m)^uuid=(.*)$", story.pi.run(["cat", path]).stdout)
        shown = story.pi.run(["nmcli", "-g", "GENERAL.CON-UUID", "device", "show", interface]).stdout
        assert shown.strip() == uuid
        known = story.pi.run(["nmcli", "-t", "-f", "UUID,FILENAME", "connection", "show"]).stdout
        assert f"{uuid}:{path}" in known.splitlines()


def files(story: Story) -> str:
    """Return the hashes of all that a rollback restores."""
    folders = f"{FOLDER} {COPIES} /etc/NetworkManager/conf.d"
    return story.pi.run(["sh", "-c", f"find {folders} -type f | sort | xargs sha256sum"]).stdout


def doctor(story: Story) -> dict[str, dict[str, Any]]:
    done = story.pi.run(["/opt/smart-meter/current/bin/smart-meter", "doctor", "--json"], check=False)
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_the_first_run_takes_the_interfaces_from_all_rivals(story: Story) -> None:
    add_rivals(story)

    story.controller.playbook("site.yml")

    assert_ours_run(story)
    story.serves_within(30)
    refused = story.pi.run(["nmcli", "connection", "up", "office"], check=False)
    assert refused.returncode != 0
    assert_ours_run(story)


def test_a_second_run_changes_nothing(story: Story) -> None:
    assert story.controller.playbook("site.yml").count(NAME, "changed") == 0


def test_after_a_reboot_no_rival_has_an_interface(story: Story) -> None:
    story.pi.reboot()

    story.serves_within(30)
    assert_ours_run(story)
    checks = doctor(story)
    for name in ("field zone, profile", "control zone, profile", "field zone, address"):
        assert checks[name]["level"] == "ok", checks[name]


def test_a_profile_that_a_power_cut_has_emptied_is_restored_at_boot(story: Story) -> None:
    before = files(story)
    story.pi.run(["truncate", "-s", "0", f"{FOLDER}/smart-meter-control.nmconnection"])
    story.pi.run(["sync"])

    story.pi.power_cut()
    story.pi.power_on()

    story.serves_within(30)
    assert files(story) == before
    assert_ours_run(story)
    restored = "smart-meter-control.nmconnection was not as confirmed: restored"
    until(lambda: story.events("network") == [restored], 20)


def test_a_change_that_fails_leaves_the_same_bytes(story: Story) -> None:
    before = files(story)
    wrong = "network_control_address=192.168.3.100/24"

    played = story.controller.playbook("site.yml", "--tags", "network", "-e", wrong, check=False)

    assert played.count(NAME, "failed") == 1, played.output
    assert files(story) == before
    assert_ours_run(story)
    assert story.controller.playbook("site.yml", "--tags", "network").count(NAME, "changed") == 0


def test_a_power_cut_in_a_change_leaves_the_same_bytes(story: Story) -> None:
    before = files(story)
    wrong = ("--tags", "network", "-e", "network_control_address=192.168.3.100/24")
    with story.controller.started("site.yml", *wrong) as running:
        until(lambda: "Activate | Reconnect" in running.output)
        time.sleep(2)
        story.pi.power_cut()
    story.pi.power_on()

    story.serves_within(30)
    assert files(story) == before
    assert_ours_run(story)
    assert story.controller.ssh(story.pi, "true").returncode == 0


def test_a_run_continues_the_change_of_one_that_was_interrupted(story: Story) -> None:
    change = ("--tags", "network", "-e", '{"network_control_dns": ["192.168.2.1"]}')
    with story.controller.started("site.yml", *change) as running:
        until(lambda: "Activate | Reconnect" in running.output)
        time.sleep(2)
        running.kill()

    played = story.controller.playbook("site.yml", *change)

    # Going back to the last confirmed state was not needed.
    assert re.search(r"Left \| Restore the files\] \*+\s+skipping", played.output), played.output
    assert "dns=192.168.2.1;" in story.pi.run(["cat", f"{FOLDER}/smart-meter-control.nmconnection"]).stdout
    assert (
        story.pi.run(["test", "-e", "/var/lib/smart-meter-guard/network/paths"], check=False).returncode == 1
    )
    assert story.pi.run(["test", "-e", CONFIRMED], check=False).returncode == 0
    assert_ours_run(story)
    story.controller.playbook("site.yml", "--tags", "network")


@contextmanager
def address_taken(story: Story, address: str) -> Iterator[None]:
    """Give another host in the field network the address."""
    change = ["dev", "br0"]
    story.lab.run("field", ["ip", "address", "add", f"{address}/24", *change])
    try:
        yield
    finally:
        story.lab.run("field", ["ip", "address", "delete", f"{address}/24", *change])


def test_an_address_that_is_in_use_at_boot_is_reported_and_does_not_fill_the_journal(story: Story) -> None:
    with address_taken(story, FIELD_ADDRESS):
        story.pi.reboot()
        story.pi.wait_until_running(60)
        time.sleep(20)

        journal = story.pi.run(["journalctl", "-b", "-u", "NetworkManager", "-o", "cat", "--no-pager"]).stdout
        assert journal.count("starting connection 'smart-meter-field'") <= 2
        # A host that answers for the address does not keep the Pi off its network.
        assert f" {FIELD_ADDRESS}/24 " in story.pi.run(["ip", "-4", "address", "show", "wlan0"]).stdout
        # A bridge takes the address of one of its ports, and the Pi's is new after a start.
        mac = story.lab.run("field", ["cat", "/sys/class/net/br0/address"]).stdout.strip()
        check = doctor(story)["field zone, address"]
        assert (check["level"], check["found"]) == ("bad", f"another host has {FIELD_ADDRESS}: {mac}")
        verified = story.controller.playbook("verify.yml", check=False).output
        assert re.search(r"BAD +doctor: field zone, address", verified)

    assert doctor(story)["field zone, address"]["level"] == "ok"
    assert story.read("control", ADDRESS) != []


def until(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
