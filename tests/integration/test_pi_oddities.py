"""What other people have set up on a Pi: it is provisioned, or refused before anything changes.

The tests share one provisioned Pi; each restores what it changes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.controller import Played
from tests.integration.pi_oddities import (
    dpkg_locked,
    no_ipv6,
    no_way_to_packages,
    port_taken,
    unfinished_package,
)
from tests.integration.pi_story import NAME, Story, fresh_pi

pytestmark = pytest.mark.pi


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with fresh_pi("oddities") as story:
        story.controller.playbook("site.yml")
        yield story


def refused(story: Story, *arguments: str) -> str:
    """Return the output of a run that is refused before anything changes, on one line."""
    played = story.controller.playbook("site.yml", *arguments, check=False)
    assert played.count(NAME, "failed") == 1, played.output
    assert played.count(NAME, "changed") == 0, played.output
    assert "Claim the Pi" not in played.output
    return " ".join(played.output.split())


def changes_nothing(story: Story, *arguments: str) -> Played:
    played = story.controller.playbook("site.yml", *arguments)
    assert played.count(NAME, "changed") == 0, played.output
    return played


@contextmanager
def file(story: Story, path: str, text: str, *, after: str = "true") -> Iterator[None]:
    """Write a file for the block; run a command after each change of it."""
    story.pi.run(["install", "-D", "-m", "644", "/dev/stdin", path], stdin=text)
    story.pi.run(["sh", "-ec", after])
    try:
        yield
    finally:
        story.pi.run(["rm", path])
        story.pi.run(["sh", "-ec", after])


def test_another_program_on_the_port_is_named(story: Story) -> None:
    with port_taken(story.pi, 502) as number:
        assert f"port 502 is taken by python3 (pid {number}); stop it" in refused(story)
    story.serves_within(10)


def test_a_root_in_memory_is_refused(story: Story) -> None:
    with file(story, "/run/cmdline", "console=tty1 boot=overlay\n"):
        story.pi.run(["mount", "--bind", "/run/cmdline", "/proc/cmdline"])
        try:
            output = refused(story)
        finally:
            story.pi.run(["umount", "/proc/cmdline"])
    assert "loses all changes at the next restart: / is an overlay in memory (boot=overlay)" in output
    assert "disable_overlayfs" in output


def test_an_interface_that_networkmanager_does_not_manage_is_refused(story: Story) -> None:
    story.pi.run(["nmcli", "device", "set", "wlan0", "managed", "no"])
    try:
        output = refused(story)
    finally:
        story.pi.run(["nmcli", "device", "set", "wlan0", "managed", "yes"])
        story.pi.run(["nmcli", "connection", "up", "smart-meter-field"])
    assert "NetworkManager does not manage wlan0" in output
    assert "sudo nmcli device set wlan0 managed yes" in output


def test_ssh_on_another_port_is_refused_with_the_variable(story: Story) -> None:
    settings = "Port 22\nPort 2222\n"
    open_port = "INPUT -p tcp --dport 2222 -j ACCEPT"
    with file(story, "/etc/ssh/sshd_config.d/20-port.conf", settings, after="systemctl reload ssh"):
        story.pi.run(["sh", "-c", f"iptables -I {open_port}"])
        try:
            output = refused(story, "-e", "ansible_port=2222")
        finally:
            story.pi.run(["sh", "-c", f"iptables -D {open_port}"])
    assert "set firewall_ssh_port: 2222" in output


def test_settings_of_the_kernel_by_others_are_overridden_or_refused_by_their_file(story: Story) -> None:
    text = "net.ipv4.ip_forward = 1\n"
    with file(story, "/etc/sysctl.d/99-x.conf", text, after="systemctl restart systemd-sysctl"):
        assert story.pi.run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout == "0\n"
        story.pi.run(["sysctl", "-w", "net.ipv4.ip_forward=1"])
        story.controller.playbook("site.yml", "--tags", "network")
        assert story.pi.run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout == "0\n"
        changes_nothing(story, "--tags", "network")
    with file(story, "/etc/sysctl.d/zzz.conf", text):
        assert "/etc/sysctl.d/zzz.conf sets net.ipv4.ip_forward = 1 after" in refused(story)


def test_another_time_daemon_is_kept(story: Story) -> None:
    """The unit stands for the package, which would remove timesyncd."""
    story.pi.run(["systemctl", "stop", "systemd-timesyncd"])
    unit = "[Service]\nExecStart=sleep infinity\n"
    with file(story, "/etc/systemd/system/chrony.service", unit, after="systemctl daemon-reload"):
        story.pi.run(["systemctl", "start", "chrony"])
        try:
            changes_nothing(story, "--tags", "appliance")
            servers = json.dumps({"appliance_ntp_servers": ["192.168.2.1"]})
            output = refused(story, "-e", servers)
        finally:
            story.pi.run(["systemctl", "stop", "chrony"])
    story.pi.run(["systemctl", "start", "systemd-timesyncd"])
    assert "appliance_ntp_servers: chrony sets this Pi's clock" in output


def test_a_login_user_may_live_elsewhere(story: Story) -> None:
    move = "mv /home/pi /srv/pi && sed -i s,:/home/pi:,:/srv/pi:, /etc/passwd"
    back = "mv /srv/pi /home/pi && sed -i s,:/srv/pi:,:/home/pi:, /etc/passwd"
    story.pi.run(["sh", "-ec", move])
    try:
        changes_nothing(story, "--tags", "appliance")
    finally:
        story.pi.run(["sh", "-ec", back])


def test_a_service_that_does_not_start_is_reported_with_its_last_lines(story: Story) -> None:
    text = "[Service]\nExecStartPre=sh -c 'echo the moon is too far; exit 1'\n"
    path = "/etc/systemd/system/smart-meter.service.d/moon.conf"
    with file(story, path, text, after="systemctl daemon-reload"):
        story.pi.run(["systemctl", "stop", "smart-meter"])
        played = story.controller.playbook("site.yml", "--tags", "concentrator", check=False)
        story.pi.run(["systemctl", "stop", "smart-meter"])
    story.pi.run(["systemctl", "start", "smart-meter"])
    assert played.count(NAME, "failed") == 1, played.output
    assert "the moon is too far" in played.output


def test_packages_wait_for_others_and_an_interrupted_dpkg_is_finished(story: Story) -> None:
    unfinished_package(story.pi, "authbind")
    with (
        dpkg_locked(story.pi, seconds=600) as number,
        story.controller.started("site.yml", "--tags", "authbind") as running,
    ):
        waiting = f"{NAME}: waiting for python3 (pid {number}) to release dpkg: 0 of at most 900 s"
        until = time.monotonic() + 90
        while waiting not in running.output and not running.is_over and time.monotonic() < until:
            time.sleep(0.2)
        story.pi.run(["systemctl", "stop", "odd"])
        played = running.wait()

    assert waiting in played.output, played.output
    assert played.returncode == 0, played.output
    state = story.pi.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", "authbind"]).stdout
    assert state == "installed"


def test_without_a_way_to_the_packages_they_are_named_with_apts_reason(story: Story) -> None:
    packages = json.dumps({"appliance_packages": ["hello"]})
    with no_way_to_packages(story.pi):
        played = story.controller.playbook("site.yml", "--tags", "appliance", "-e", packages, check=False)

    output = " ".join(played.output.split())
    assert played.count(NAME, "failed") == 1, played.output
    assert "missing packages: hello; apt: " in output
    assert "needs a connection to Debian's packages once" in output


def test_a_kernel_without_ipv6_is_no_hindrance(story: Story) -> None:
    story.pi.run(["ufw", "disable"])
    with no_ipv6(story.pi):
        story.controller.playbook("site.yml", "--tags", "network,firewall")
    assert "Status: active" in story.pi.run(["ufw", "status"]).stdout


def test_after_all_of_it_there_is_nothing_to_change(story: Story) -> None:
    changes_nothing(story)
    assert "BAD" not in story.controller.playbook("verify.yml").output
