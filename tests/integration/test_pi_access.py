"""Who gets at a Pi: SSH, ping and mDNS. The tests run in the order of the file, on one Pi."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.controller import ADDRESS, FIELD_ADDRESS
from tests.integration.pi_story import NAME, Story, fresh_pi

pytestmark = pytest.mark.pi

IDLE_MINUTES = 1
FIELD_ROUTER = "192.168.1.1"
SPOOFED = "192.168.2.77"
"""An address of the control network that no host there has."""


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """A Pi that reaches other networks through the field zone."""
    site = {"network_field_gateway": FIELD_ROUTER, "appliance_ssh_idle_minutes": IDLE_MINUTES}
    with fresh_pi("access", site) as story:
        yield story


def ssh(story: Story, *options: str, user: str = "pi") -> list[str]:
    """Return the ssh command to the Pi, with further options before the target."""
    *command, target = story.lab.ssh(story.pi, address=ADDRESS)
    return [*command, *options, target.replace("pi@", f"{user}@")]


def connects(story: Story, place: str, source: str, address: str) -> bool:
    """Return whether the Pi's SSH accepts a connection from a source address."""
    code = f"import socket; socket.create_connection(('{address}', 22), 3, ('{source}', 0))"
    return story.lab.run(place, ["python3", "-c", code], check=False).returncode == 0


def test_a_second_run_changes_nothing(story: Story) -> None:
    story.controller.playbook("site.yml")
    assert story.controller.ssh(story.pi, "hostname").stdout.strip() == NAME

    played = story.controller.playbook("site.yml")

    assert played.count(NAME, "changed") == 0, played.output
    assert "BAD" not in story.controller.playbook("verify.yml").output


def test_avahi_is_stopped_and_masked_and_that_is_recorded(story: Story) -> None:
    """The virtual Pi has it, as Raspberry Pi OS does. The record is for the removal of the appliance."""
    units = ["avahi-daemon.service", "avahi-daemon.socket"]
    for question, state in (("is-active", "inactive"), ("is-enabled", "masked")):
        answer = story.pi.run(["systemctl", question, *units], check=False).stdout.split()
        assert answer == [state, state], question
    assert story.pi.run(["ls", "/var/lib/smart-meter-guard/masked"]).stdout.split() == units
    assert ":5353" not in story.pi.run(["ss", "-lun"]).stdout


def test_sshd_has_the_settings(story: Story) -> None:
    settings = story.pi.run(["/usr/sbin/sshd", "-T"]).stdout.splitlines()
    assert {
        "allowusers pi",
        "disableforwarding yes",
        "passwordauthentication no",
        "maxauthtries 3",
    } <= set(settings)


def test_verify_names_a_user_that_another_file_admits(story: Story) -> None:
    more = "/etc/ssh/sshd_config.d/20-more.conf"
    story.pi.run(["sh", "-c", f"echo 'AllowUsers games' > {more}"])
    found = story.controller.playbook("verify.yml", check=False).output
    story.pi.run(["rm", more])

    assert re.search(r"BAD +SSH admits +games, pi, expected pi", found), found


def test_ssh_forwards_nothing(story: Story) -> None:
    done = story.lab.run("control", ssh(story, "-W", "127.0.0.1:502"), check=False)

    assert done.returncode != 0
    assert "prohibited" in done.stderr, done.stderr


def test_a_user_who_is_not_named_can_not_log_in_with_a_good_key(story: Story) -> None:
    script = """
        useradd --create-home --shell /bin/bash other
        install -d -m 700 -o other -g other ~other/.ssh
        install -m 600 -o other -g other /home/pi/.ssh/authorized_keys ~other/.ssh/authorized_keys
    """
    story.pi.run(["sh", "-ec", script])

    done = story.lab.run("control", [*ssh(story, user="other"), "true"], check=False)

    assert done.returncode == 255
    assert "Permission denied" in done.stderr
    assert story.controller.ssh(story.pi, "true").returncode == 0


def test_an_idle_shell_ends_and_a_silent_command_does_not(story: Story) -> None:
    silent = f"sleep {IDLE_MINUTES * 60 + 40}; echo done"
    started = time.monotonic()
    with (
        story.lab.popen("control", ssh(story, "-tt")) as shell,
        story.lab.popen("control", [*ssh(story), silent]) as command,
    ):
        shell.wait(IDLE_MINUTES * 60 + 35)
        assert time.monotonic() - started > IDLE_MINUTES * 60 - 10
        printed, errors = command.communicate(timeout=60)

    assert printed == "done\n", errors


def test_settings_that_lock_out_everybody_are_rolled_back(story: Story) -> None:
    deny = "/etc/ssh/sshd_config.d/05-deny.conf"
    script = f"""
        smart-meter-guard begin ssh 10 /etc/ssh/sshd_config.d
        echo 'DenyUsers pi' > {deny}
        systemctl reload ssh
    """
    story.pi.run(["sh", "-ec", script])
    assert story.controller.ssh(story.pi, "true").returncode == 255

    time.sleep(15)

    assert story.controller.ssh(story.pi, "true").returncode == 0
    assert story.pi.run(["test", "-e", deny], check=False).returncode == 1


def test_a_field_host_can_not_use_a_control_address_while_the_cable_is_out(story: Story) -> None:
    """The reply would leave through the field zone's gateway, so the reverse-path filter lets it pass."""
    for command in (
        ["ip", "address", "add", f"{SPOOFED}/32", "dev", "lo"],
        ["ip", "route", "add", f"{ADDRESS}/32", "via", FIELD_ADDRESS],
    ):
        story.lab.run("field", command)
    story.pi.link("eth0").down()
    try:
        assert story.pings("field", FIELD_ADDRESS)
        assert not connects(story, "field", SPOOFED, FIELD_ADDRESS)
        assert not connects(story, "field", SPOOFED, ADDRESS)
    finally:
        story.pi.link("eth0").up()
        story.lab.run("field", ["ip", "address", "del", f"{SPOOFED}/32", "dev", "lo"])
        story.lab.run("field", ["ip", "route", "del", f"{ADDRESS}/32"])


def test_only_hosts_that_may_connect_can_ping_also_after_a_reload_of_the_firewall(story: Story) -> None:
    for _ in range(2):
        assert story.pings("field", FIELD_ADDRESS)
        assert story.pings("control", ADDRESS)
        assert not story.pings("stranger", story.pi.uplink_address)
        story.pi.run(["ufw", "reload"])


def test_the_limits_are_there_after_a_reboot(story: Story) -> None:
    story.pi.reboot()
    story.pi.wait_until_running(60)

    assert story.pings("control", ADDRESS)
    assert not story.pings("stranger", story.pi.uplink_address)
    assert story.pi.run(["systemctl", "is-active", "smart-meter-ping.service"]).stdout == "active\n"


def test_a_restart_that_is_due_is_a_warning_and_waits_for_its_window(story: Story) -> None:
    story.pi.run(["touch", "/run/reboot-required"])
    window = '{"appliance_unattended_reboot_time": "03:30"}'

    story.controller.playbook("site.yml", "--tags", "appliance", "-e", window)

    timers = story.pi.run(["systemctl", "list-timers", "--all", "--no-pager"]).stdout
    assert "smart-meter-restart.timer" in timers
    # A change that is not confirmed puts it off.
    story.pi.run(["smart-meter-guard", "begin", "firewall", "600", "/etc/default/ufw"])
    story.pi.run(["systemctl", "start", "smart-meter-restart.service"])
    journal = story.pi.run(["journalctl", "-u", "smart-meter-restart", "-o", "cat", "--no-pager"]).stdout
    assert "put off: a change is not confirmed yet" in journal
    story.pi.run(["smart-meter-guard", "roll_back", "firewall"])
    story.pi.run(["rm", "/run/reboot-required"])
    story.controller.playbook("site.yml", "--tags", "appliance")
    enabled = story.pi.run(["systemctl", "is-enabled", "smart-meter-restart.timer"], check=False).stdout
    assert enabled == "disabled\n"
