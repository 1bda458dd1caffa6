"""One playbook turns a fresh Pi into the concentrator. The tests run in the order of the file, on one Pi."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from roles.concentrator.rollout.pi import assembled

from tests.controller import ADDRESS, FIELD_ADDRESS, REPOSITORY, Played
from tests.integration.pi_doctor import HARDWARE, PROGRAM, doctor, fix, until, write_and_read
from tests.integration.pi_oddities import (
    add_strange_rules,
    enable_banner_and_lecture,
    set_unresolvable_host_name,
    silent_name_server,
)
from tests.integration.pi_story import EXAMPLE, NAME, Story, fresh_pi

pytestmark = pytest.mark.pi

RX = (
    "[RX FROM ESP32] 2016-01-01T06:00:00+00:00 | P_ac=250.0W P_dc=260.0W V_dc=48.50V I_dc=5.36A "
    "G=850.0W/m² T_cell=45.6°C | Total RX: 1"
)


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with fresh_pi("provision") as story:
        set_unresolvable_host_name(story.pi)
        enable_banner_and_lecture(story.pi)
        yield story


def shows_no_secret(story: Story, output: str) -> bool:
    return not any(secret in output for secret in story.controller.secrets.values())


def test_check_mode_on_a_fresh_pi_does_not_fail_and_changes_nothing(story: Story) -> None:
    played = story.controller.playbook("site.yml", "--check", "--diff")

    assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
    assert "+net.ipv4.ip_forward = 0" in played.output, "the difference is not shown"
    assert shows_no_secret(story, played.output)
    there = story.pi.run(
        ["ls", "/etc/smart-meter", "/opt/smart-meter", "/etc/authbind", "/usr/sbin/ufw"], check=False
    )
    assert there.stdout == ""
    assert story.pi.run(["hostname"]).stdout.strip() == "lab-pi"


def test_one_playbook_provisions_a_pi_and_changes_the_address_of_its_own_connection(story: Story) -> None:
    assert story.pi.bootstrap_address != ADDRESS

    played = story.controller.playbook("site.yml", "--diff")

    assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
    assert shows_no_secret(story, played.output)
    assert story.controller.ssh(story.pi, "hostname").stdout.strip() == NAME
    addresses = story.pi.run(["ip", "-4", "-o", "address"]).stdout
    assert f"{ADDRESS}/24" in addresses
    assert f"{FIELD_ADDRESS}/24" in addresses
    assert story.pi.bootstrap_address not in addresses
    assert "127.0.1.1\tpi-north raspberrypi lab-pi\n" in story.pi.run(["cat", "/etc/hosts"]).stdout


def test_a_power_cut_right_after_the_first_run_loses_nothing(story: Story) -> None:
    story.pi.power_cut()
    story.pi.power_on()

    story.serves_within(30)
    assert empty_files(story, "/opt/smart-meter/current/lib") == 0
    assert story.controller.ssh(story.pi, "hostname").stdout.strip() == NAME
    assert "Status: active" in story.pi.run(["ufw", "status"]).stdout


def empty_files(story: Story, folder: str) -> int:
    """Return how many modules are empty that should not be; __init__.py may be empty."""
    found = ["find", "-L", folder, "-type", "f", "-empty", "-name", "*.py", "!", "-name", "__init__.py"]
    return len(story.pi.run(found).stdout.split())


def test_the_journal_starts_with_the_banner_of_the_requirements(story: Story) -> None:
    lines = story.journal().splitlines()

    start = lines.index("RPI#1 - Smart Meter / RTU Server Starting")
    assert lines[start + 1 : start + 15] == [
        "=" * 80,
        "Architecture:",
        "  ESP32 → RPI#1: WiFi, Modbus TCP (writes data)",
        "  RPI#1 ← Opta: Ethernet, Modbus TCP (reads data)",
        # The banner has an empty line here, which journald drops.
        "Configuration:",
        "  TCP Server: 0.0.0.0:502",
        "  Unit ID: 1",
        "  Interfaces: WiFi (192.168.1.100) + Ethernet (192.168.2.100)",
        "=" * 80,
        "Statistics task created",
        "Starting Modbus TCP server on 0.0.0.0:502...",
        "Waiting for:",
        "  - ESP32 to write data (WiFi interface)",
        "  - Opta to read data (Ethernet interface)",
    ]


def test_the_field_zone_can_write_and_read_eight_registers(story: Story) -> None:
    done = story.write("field", *EXAMPLE)

    assert done.returncode == 0, done.stdout + done.stderr
    assert story.read("field", FIELD_ADDRESS) == EXAMPLE
    assert RX in story.journal().splitlines()


def test_the_control_zone_can_read(story: Story) -> None:
    assert story.read("control") == EXAMPLE
    assert "[TX TO OPTA] Served registers 0-7 | Total served: 1" in story.journal().splitlines()


def test_a_write_from_the_control_zone_is_an_illegal_function(story: Story) -> None:
    done = story.write("control", "1", "2", address=ADDRESS)

    assert done.returncode != 0
    assert "Illegal function" in done.stdout + done.stderr
    assert story.read("control") == EXAMPLE


def test_a_third_network_can_not_connect(story: Story) -> None:
    address = story.pi.uplink_address

    done = story.mbpoll("stranger", "-r", "0", "-c", "8", address)

    assert "lladdr" in story.lab.run("stranger", ["ip", "neighbour", "show", address]).stdout, (
        "no way to the Pi"
    )
    assert not story.pings("stranger", address)
    assert done.returncode != 0
    assert "Connection failed" in done.stdout + done.stderr


def test_the_pi_does_not_route_between_the_zones(story: Story) -> None:
    story.lab.run("field", ["ip", "route", "add", "192.168.2.0/24", "via", FIELD_ADDRESS])
    story.lab.run("control", ["ip", "route", "add", "192.168.1.0/24", "via", ADDRESS])
    assert story.pings("field", FIELD_ADDRESS)
    assert story.pings("control", ADDRESS)

    assert not story.pings("field", "192.168.2.10"), "the field zone reaches the Opta"
    assert not story.pings("control", "192.168.1.50"), "the control zone reaches the ESP32"


def test_a_field_host_does_not_reach_the_control_address(story: Story) -> None:
    done = story.mbpoll("field", "-r", "0", "-c", "8", ADDRESS)

    assert done.returncode != 0
    assert "Connection failed" in done.stdout + done.stderr


def test_apt_leaves_no_packages_and_no_cache_on_the_card(story: Story) -> None:
    kept = story.pi.run(
        ["find", "/var/cache/apt", "-type", "f", "-size", "+0", "-printf", "%s %p\n"]
    ).stdout.splitlines()
    assert kept == []
    # Nor does a later installation, for example by unattended-upgrades.
    story.pi.run(["apt-get", "install", "--yes", "--reinstall", "authbind"], timeout=120)
    assert story.pi.run(["find", "/var/cache/apt", "-type", "f", "-size", "+0"]).stdout == ""


def test_a_second_run_changes_nothing(story: Story) -> None:
    played = story.controller.playbook("site.yml")

    assert played.count(NAME, "changed") == 0, played.output
    assert played.count(NAME, "failed") == 0


def test_check_mode_on_a_provisioned_pi_finds_no_difference(story: Story) -> None:
    # On a card from Raspberry Pi Imager, cloud-init writes this at each boot (manage_etc_hosts).
    lines = f"127.0.1.1 {NAME} raspberrypi\n127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
    story.pi.run(["tee", "/etc/hosts"], stdin=lines)

    played = story.controller.playbook("site.yml", "--check", "--diff")

    assert played.count(NAME, "changed") == 0, played.output


def test_the_acceptance_passes_and_prints_a_line_per_check(story: Story) -> None:
    before, values = story.status_block(), story.read("control")
    reads = served(story)

    played = story.controller.playbook("verify.yml")

    after = story.status_block()
    assert after[4:] == before[4:], "a sample or a refused write was counted"
    assert story.read("control") == values
    assert served(story) == reads + 2, "reads of the controller were counted as the Opta's"
    assert re.search(r"^\[PROBE\] OPTA \(\S+\) may use function codes 3, 4, 8, 43$", story.journal(), re.M)
    assert played.count(NAME, "changed") == 0
    assert re.search(r"ok\s+control zone on unit 1\s+read-only, from the controller", played.output)
    assert re.search(r"ok\s+doctor: journal\s+on the card", played.output)
    assert re.search(r"ok\s+doctor: ICMP redirects\s+refused", played.output)
    assert not re.search(r"ok\s+(journal|service|source routes) ", played.output), "the doctor judges them"
    assert "BAD" not in played.output
    exposure = re.search(r"ok\s+exposure by systemd-analyze security\s+([\d.]+)", played.output)
    assert exposure
    assert float(exposure[1]) <= 1.5


def served(story: Story) -> int:
    """Return the number of the Opta's reads since the start of the service."""
    # The state file is at most three seconds old.
    time.sleep(4)
    state = json.loads(story.pi.run(["cat", "/run/smart-meter/state.json"]).stdout)
    return int(state["peers"]["OPTA"]["served"])


def test_the_acceptance_shows_what_is_wrong_and_the_fix(story: Story) -> None:
    story.pi.run(["ufw", "allow", "8080/tcp"])

    played = story.controller.playbook("verify.yml", "-e", "concentrator_name=RPI#9", check=False)

    story.pi.run(["ufw", "delete", "allow", "8080/tcp"])
    # Otherwise a power cut in a later test would restore the rule.
    story.pi.run(["sync"])
    assert played.returncode != 0
    assert re.search(r"BAD\s+configuration\s+differs", played.output)
    assert re.search(r"BAD\s+firewall rules", played.output)
    assert "ufw allow 8080/tcp" in played.output
    assert f"ansible-playbook playbooks/site.yml --limit {NAME} --tags firewall" in played.output


def test_the_journal_of_a_fresh_pi_survives_a_power_cut(story: Story) -> None:
    """Raspberry Pi OS keeps it in memory. Provisioning must move it to the card without a restart."""
    story.pi.run(["logger", "--id", "before the power went"])
    # journald does this by itself within five minutes.
    story.pi.run(["journalctl", "--sync"])
    who_may_read = ["setpriv", "--reuid=pi", "--regid=pi", "--init-groups", "journalctl"]

    story.pi.power_cut()
    story.pi.power_on()

    assert "before the power went" in story.pi.run([*who_may_read, "-b", "-1", "-o", "cat"]).stdout
    story.serves_within(30)


def test_a_journal_in_memory_is_bad_and_the_fix_moves_it_to_the_card(story: Story) -> None:
    story.pi.run(["journalctl", "--relinquish-var"])

    checks = doctor(story)

    assert checks["journal"]["found"].startswith("in memory only (/run/log/journal/")
    assert re.search(r"BAD\s+doctor: journal\s+in memory only \(/run/log/journal/", accepted(story).output)
    fix(story, checks["journal"])
    assert doctor(story)["journal"]["level"] == "ok"


def test_an_icmp_redirect_does_not_change_a_route(story: Story) -> None:
    far, router, other = "10.99.0.1", "192.168.2.1", "192.168.2.10"
    story.lab.run("control", ["ip", "address", "add", f"{far}/32", "dev", "lo"])
    story.pi.run(["ip", "route", "add", far, "via", router, "dev", "eth0"])
    program = [sys.executable, "-m", "tests.integration.redirect", ADDRESS, far, router, other]

    assert story.lab.run("control", program, cwd=REPOSITORY).stdout == "redirected\n"

    route = story.pi.run(["ip", "route", "get", far]).stdout
    story.pi.run(["ip", "route", "del", far])
    story.lab.run("control", ["ip", "address", "del", f"{far}/32", "dev", "lo"])
    assert f"via {router} " in route
    assert "redirected" not in route


def test_a_new_interface_refuses_redirects_too(story: Story) -> None:
    add_interface = ["ip", "link", "add", "eth7", "type", "veth", "peer", "name", "cable7"]
    for _ in range(2):
        story.pi.run(add_interface)
        assert {name for name in doctor(story).bad() if "redirects" in name or "routes" in name} == set()
        story.pi.run(["ip", "link", "del", "eth7"])

    story.pi.run(add_interface)
    settings = ["net.ipv4.conf.eth7.accept_redirects=1", "net.ipv6.conf.eth7.accept_redirects=1"]
    story.pi.run(["sysctl", "-w", *settings])
    checks = doctor(story)
    assert checks["ICMP redirects"]["found"] == "accepted: eth7 (IPv4), eth7 (IPv6)"
    # systemd's udev rule does this for each new interface, but a virtual Pi has no udev.
    rule = ["--prefix=/net/ipv4/conf/eth7", "--prefix=/net/ipv6/conf/eth7"]
    story.pi.run(["/usr/lib/systemd/systemd-sysctl", *rule])
    assert doctor(story)["ICMP redirects"]["level"] == "ok"
    story.pi.run(["sysctl", "-w", *settings])
    fix(story, checks["ICMP redirects"])
    assert doctor(story)["ICMP redirects"]["level"] == "ok"
    story.pi.run(["ip", "link", "del", "eth7"])


def test_no_step_depends_on_a_name_server(story: Story) -> None:
    """The Pi is like a fresh one with all packages: it has another name, the only one in /etc/hosts."""
    story.pi.run(["hostnamectl", "set-hostname", "raspberrypi"])
    story.pi.run(["sed", "-i", "s/^127.0.1.1.*/127.0.1.1 raspberrypi/", "/etc/hosts"])

    with silent_name_server(story.lab):
        story.controller.playbook("site.yml", "--tags", "appliance")

    assert story.pi.run(["hostname"]).stdout.strip() == NAME
    assert f"127.0.1.1\t{NAME} raspberrypi\n" in story.pi.run(["cat", "/etc/hosts"]).stdout


def test_a_pi_whose_sudo_waits_for_a_name_server_is_repaired(story: Story) -> None:
    """A run that is interrupted between setting the host name and /etc/hosts leaves this state."""
    story.pi.run(["hostnamectl", "set-hostname", "lab-pi"])
    # sudo then takes longer than the 12 s that Ansible waits by default, but less than without this (20 s).
    story.pi.run(["sh", "-c", "echo options timeout:7 attempts:1 >> /etc/resolv.conf"])

    with silent_name_server(story.lab):
        story.controller.playbook("site.yml", "--tags", "appliance")

    assert story.pi.run(["hostname"]).stdout.strip() == NAME


def test_a_killed_service_answers_again_within_two_seconds(story: Story) -> None:
    story.pi.run(["systemctl", "kill", "-s", "KILL", "smart-meter"])

    assert story.serves_within(2) < 2


def test_a_configuration_that_was_written_but_not_loaded_is_found_and_loaded(story: Story) -> None:
    """A run that is interrupted between writing and reloading leaves this state."""
    story.pi.run(
        ["sed", "-i", "s/statistics_interval = .*/statistics_interval = 59/", "/etc/smart-meter/config.toml"]
    )
    story.pi.run(["systemctl", "restart", "smart-meter"])
    story.pi.run(
        ["sed", "-i", "s/statistics_interval = .*/statistics_interval = 60/", "/etc/smart-meter/config.toml"]
    )
    assert re.search(
        r"BAD\s+doctor: configuration\s+accepted, but the service runs with another", accepted(story).output
    )

    played = story.controller.playbook("site.yml", "--tags", "concentrator")

    assert played.count(NAME, "changed") == 2, "not the comparison and the reload"
    assert re.search(r"ok\s+configuration\s+as in the inventory", accepted(story).output)


def accepted(story: Story) -> Played:
    return story.controller.playbook("verify.yml", check=False)


def test_a_damaged_release_is_detected_and_installed_again(story: Story) -> None:
    """A worn-out card, or one that loses written data, leaves this state."""
    module = "/opt/smart-meter/current/lib/python3*/site-packages/smart_meter/runtime/service.py"
    story.pi.run(["sh", "-c", f"truncate --size=0 {module}"])
    shown = " ".join(accepted(story).output.split())
    assert re.search(r"BAD doctor: release \S+ is damaged: \S+/runtime/service\.py changed since", shown), (
        shown
    )
    check = doctor(story)["release"]
    assert check["level"] == "bad"
    assert "smart_meter/runtime/service.py changed since the installation" in check["found"]
    story.pi.run(["sh", "-c", "rm /opt/smart-meter/current/bin/python"])
    release = story.pi.run(["readlink", "/opt/smart-meter/current"]).stdout

    story.controller.playbook("site.yml", "--tags", "concentrator")

    assert story.pi.run(["readlink", "/opt/smart-meter/current"]).stdout == release
    assert story.pi.run(["sh", "-c", f"cat {module} | wc -c"]).stdout != "0\n"
    story.serves_within(5)
    assert "BAD" not in accepted(story).output
    left = story.pi.run(["ls", "-A", "/opt/smart-meter", "/opt/smart-meter/releases"]).stdout
    assert "damaged" not in left
    assert "incoming" not in left


def test_wheels_with_a_wrong_checksum_are_refused_before_they_are_unpacked(story: Story) -> None:
    incoming = "/opt/smart-meter/incoming"
    story.pi.run(["mkdir", "-p", incoming])
    story.pi.run(["tee", f"{incoming}/9.9.tar"], stdin="not what was sent")
    sent = hashlib.sha256(b"what was sent").hexdigest()
    arguments = ["sh", "-s", "9.9", "smart-meter", "pip-1-py3-none-any.whl", sent]

    done = story.pi.run(arguments, stdin=assembled("install.sh", ""), check=False)

    left = story.pi.run(["ls", "-A", incoming]).stdout
    story.pi.run(["rm", "-r", incoming])
    assert done.returncode == 3
    assert f"9.9.tar: not what the controller has verified: its SHA-256 is not {sent}" in done.stdout
    assert left == "9.9.tar\n"
    assert "9.9" not in story.pi.run(["ls", "-A", "/opt/smart-meter/releases"]).stdout


def test_only_the_service_user_may_bind_the_port(story: Story) -> None:
    assert story.pi.run(["stat", "-c", "%U %a", "/etc/authbind/byport/502"]).stdout.split() == [
        "smart-meter",
        "500",
    ]
    attempt = ["setpriv", "--reuid=pi", "--regid=pi", "--init-groups", "authbind", "--deep", "python3", "-c"]
    code = "import socket; socket.socket().bind(('127.0.0.9', 502))"
    assert "PermissionError" in story.pi.run([*attempt, code], check=False).stderr


def test_a_rule_that_is_removed_from_the_inventory_is_removed_from_the_pi(story: Story) -> None:
    extra = '{"firewall_extra_rules": [{"comment": "For a day", "from": "192.168.2.0/24", "port": 8081}]}'
    before = story.pi.run(["ufw", "show", "added"]).stdout.splitlines()
    story.controller.playbook("site.yml", "--tags", "firewall", "-e", extra)
    assert "For a day" in story.pi.run(["ufw", "status"]).stdout
    # Rules that were added by hand must go too, whatever their form.
    add_strange_rules(story.pi)

    story.controller.playbook("site.yml", "--tags", "firewall")

    assert sorted(story.pi.run(["ufw", "show", "added"]).stdout.splitlines()) == sorted(before)


def test_a_rule_that_can_not_be_deleted_is_reported_and_the_change_is_rolled_back(story: Story) -> None:
    story.pi.run(["ufw", "allow", "9999/tcp"])
    before = story.pi.run(["ufw", "show", "added"]).stdout
    refusing = """mv /usr/sbin/ufw /usr/sbin/ufw.real
        { echo '#!/bin/sh'
          echo 'case "$*" in *"delete allow 9999/tcp"*) echo "ERROR: no" >&2; exit 1 ;; esac'
          echo 'exec /usr/sbin/ufw.real "$@"'; } > /usr/sbin/ufw
        chmod 755 /usr/sbin/ufw"""
    story.pi.run(["sh", "-ec", refusing])

    played = story.controller.playbook("site.yml", "--tags", "firewall", check=False)

    story.pi.run(["mv", "/usr/sbin/ufw.real", "/usr/sbin/ufw"])
    output = " ".join(played.output.split())
    assert played.count(NAME, "failed") == 1, played.output
    assert "the change of firewall rules was rolled back" in output
    assert "ufw allow 9999/tcp: ERROR: no." in output
    assert "firewall_ssh_from" not in output.rpartition("was rolled back")[2]
    assert story.pi.run(["ufw", "show", "added"]).stdout == before
    story.pi.run(["ufw", "delete", "allow", "9999/tcp"])


def test_rules_without_the_controller_are_refused_before_anything_changes(story: Story) -> None:
    before = story.pi.run(["ufw", "show", "added"]).stdout

    played = story.controller.playbook(
        "site.yml", "--tags", "firewall", "-e", '{"firewall_ssh_from": ["192.168.1.0/24"]}', check=False
    )

    assert played.count(NAME, "failed") == 1
    assert "firewall_ssh_from: 192.168.1.0/24 does not contain 192.168.2.1" in " ".join(played.output.split())
    assert story.pi.run(["ufw", "show", "added"]).stdout == before


def test_a_port_of_ssh_that_is_not_the_pis_is_refused_before_anything_changes(story: Story) -> None:
    before = story.pi.run(["ufw", "show", "added"]).stdout

    # Without a rule for port 22, the check of the inventory would refuse it.
    rule = {"comment": "From elsewhere only", "from": "10.9.0.0/16", "port": 22}
    change = json.dumps({"firewall_ssh_port": 2222, "firewall_extra_rules": [rule]})
    played = story.controller.playbook("site.yml", "--tags", "firewall", "-e", change, check=False)

    assert played.count(NAME, "failed") == 1, played.output
    assert "firewall_ssh_port: this controller connects to the Pi's port 22" in " ".join(
        played.output.split()
    )
    assert story.pi.run(["ufw", "show", "added"]).stdout == before


def test_rules_that_lock_out_the_controller_are_rolled_back(story: Story) -> None:
    before = story.pi.run(["ufw", "show", "added"]).stdout
    # The inventory's rules are right; something else on the Pi closes SSH as they change.
    closing = """mv /usr/sbin/ufw /usr/sbin/ufw.real
        { echo '#!/bin/sh'
          echo 'case "$*" in'
          echo '*2222*) iptables -I INPUT -p tcp --dport 22 --syn -j DROP ;;'
          echo 'reload) iptables -D INPUT -p tcp --dport 22 --syn -j DROP ;;'
          echo 'esac'
          echo 'exec /usr/sbin/ufw.real "$@"'; } > /usr/sbin/ufw
        chmod 755 /usr/sbin/ufw"""
    story.pi.run(["sh", "-ec", closing])
    extra = '{"firewall_extra_rules": [{"comment": "Closes", "from": "192.168.2.0/24", "port": 2222}]}'

    played = story.controller.playbook("site.yml", "--tags", "firewall", "-e", extra, check=False)

    story.pi.run(["mv", "/usr/sbin/ufw.real", "/usr/sbin/ufw"])
    assert played.count(NAME, "failed") == 1, played.output
    output = " ".join(played.output.split())
    assert "the change of firewall rules was rolled back" in output
    assert f"Check firewall_ssh_from and firewall_ssh_port of {NAME} in the inventory." in output
    assert story.pi.run(["ufw", "show", "added"]).stdout == before
    assert story.controller.ssh(story.pi, "true").returncode == 0


def test_a_change_to_an_unreachable_address_is_rolled_back(story: Story) -> None:
    played = story.controller.playbook(
        "site.yml", "--tags", "network", "-e", "network_control_address=192.168.3.100/24", check=False
    )

    output = " ".join(played.output.split())
    assert played.count(NAME, "failed") == 1, played.output
    assert f"the network change was rolled back by the Pi, and it answers at {ADDRESS} as before" in output
    assert story.controller.ssh(story.pi, "true").returncode == 0
    assert story.read("control") != []
    assert "192.168.3.100" not in story.pi.run(["nmcli", "connection", "show", "smart-meter-control"]).stdout


def test_the_address_of_another_host_is_not_used(story: Story) -> None:
    played = story.controller.playbook(
        "site.yml", "--tags", "network", "-e", "network_field_address=192.168.1.50/24", check=False
    )

    output = " ".join(played.output.split())
    assert played.count(NAME, "failed") == 1, played.output
    assert "the network change was rolled back" in output
    assert f"{FIELD_ADDRESS}/24" in story.pi.run(["ip", "-4", "-o", "address", "show", "wlan0"]).stdout
    assert story.read("field", FIELD_ADDRESS) != []


def test_after_the_rollbacks_there_is_nothing_to_change(story: Story) -> None:
    played = story.controller.playbook("site.yml")

    assert played.count(NAME, "changed") == 0, played.output


def test_the_control_zone_can_be_moved_to_another_network_and_back(story: Story) -> None:
    """The inventory only has the new address: the play finds the Pi at the address that it has cached."""
    away = "10.44.0.100"
    bridge = story.lab.run("control", ["ip", "-4", "-o", "address"]).stdout
    link = re.search(r"\d+: (\S+)\s+inet 192\.168\.2\.1/", bridge)
    assert link
    story.lab.run("control", ["ip", "address", "add", "10.44.0.1/24", "dev", link[1]])
    story.controller.hosts[NAME]["network_control_address"] = f"{away}/24"
    story.controller.write()
    try:
        story.controller.playbook("site.yml")
        assert story.controller.ssh(story.pi, "true", address=away).returncode == 0
        assert story.mbpoll("control", "-r", "0", "-c", "8", away).returncode == 0
        assert "192.168.2.0/24" not in story.pi.run(["ufw", "status"]).stdout
    finally:
        del story.controller.hosts[NAME]["network_control_address"]
        story.controller.write()
        story.controller.playbook("site.yml")

    assert story.controller.ssh(story.pi, "true").returncode == 0
    assert story.mbpoll("control", "-r", "0", "-c", "8", ADDRESS).returncode == 0


def test_a_gateway_that_is_removed_from_the_inventory_is_removed_from_the_pi(story: Story) -> None:
    story.controller.playbook("site.yml", "--tags", "network", "-e", "network_control_gateway=192.168.2.1")
    assert "default via 192.168.2.1 dev eth0" in story.pi.run(["ip", "route"]).stdout
    strict = story.pi.run(["sysctl", "-n", "net.ipv4.conf.eth0.rp_filter"]).stdout.strip()
    assert strict == "1", "NetworkManager has relaxed the filter"

    story.controller.playbook("site.yml", "--tags", "network")

    assert "dev eth0" not in story.pi.run(["ip", "route", "show", "default"]).stdout


def test_the_pi_serves_again_after_a_reboot(story: Story) -> None:
    story.pi.reboot()
    story.pi.wait_until_running(60)

    story.serves_within(30)
    assert story.pi.run(["hostname"]).stdout.strip() == NAME
    assert story.write("field", *EXAMPLE).returncode == 0
    assert story.read("control") == EXAMPLE
    assert "BAD" not in story.controller.playbook("verify.yml").output


def test_after_a_power_cut_the_next_boot_rolls_back_an_unconfirmed_change(story: Story) -> None:
    before = story.pi.run(["ufw", "show", "added"]).stdout
    story.pi.run(["smart-meter-guard", "begin", "firewall", "600", "/etc/ufw", "/etc/default/ufw"])
    story.pi.run(["ufw", "deny", "in", "proto", "tcp", "from", "any", "to", "any", "port", "9999"])
    story.pi.run(["sync"])

    story.pi.power_cut()
    story.pi.power_on()
    story.pi.wait_until_running(60)

    assert story.pi.run(["ufw", "show", "added"]).stdout == before
    assert "Status: active" in story.pi.run(["ufw", "status"]).stdout
    story.serves_within(30)


def test_the_doctor_finds_nothing_wrong_with_a_provisioned_pi_and_both_peers(story: Story) -> None:
    write_and_read(story)

    report = until(story, lambda report: not report.bad())

    assert report["ESP32 heard"]["level"] == report["Opta reading"]["level"] == "ok"
    assert report["field zone, wlan0"]["found"] == "up with 192.168.1.100/24"
    assert report["control zone, eth0"]["found"] == "up with 192.168.2.100/24"
    assert report["firewall, control zone"]["found"] == "502/tcp allowed"
    assert report["permission for port 502"]["found"] == "owner smart-meter, mode 0500"
    assert report["configuration"]["found"] == "accepted and running"
    assert report["history"]["found"].startswith("recorded, ")
    known = {name for name, check in report.items() if check["level"] != "unknown"}
    assert known | HARDWARE == set(report), "a check is unknown even to root"


def test_the_doctor_names_what_only_root_can_check(story: Story) -> None:
    command = ["setpriv", "--reuid=pi", "--regid=pi", "--init-groups", PROGRAM, "doctor"]
    done = story.pi.run(command, check=False)
    assert done.returncode == 2
    assert "this user may not read /etc/smart-meter/config.toml" in done.stdout
    assert "fix: sudo smart-meter doctor shows it" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_stopped_service_is_bad_and_the_fix_starts_it(story: Story) -> None:
    story.pi.run(["systemctl", "stop", "smart-meter"])

    report = doctor(story)

    assert report.code == 1
    assert {"service", "port 502", "meter pv, unit 1"} <= report.bad()
    assert report["service"]["found"] == "inactive (dead)"
    assert report["port 502"]["found"] == "closed: no process listens"
    fix(story, report["service"])
    write_and_read(story)
    until(story, lambda report: not report.bad())


def test_a_missing_address_is_bad_and_the_fix_restores_it(story: Story) -> None:
    story.pi.run(["ip", "address", "del", "192.168.1.100/24", "dev", "wlan0"])

    report = doctor(story)

    assert report["field zone, wlan0"]["found"] == "up with no address"
    assert report["control zone, eth0"]["level"] == "ok"
    story.pi.run(["sh", "-c", report["field zone, wlan0"]["fix"].replace("sudo ", "")])
    assert doctor(story)["field zone, wlan0"]["level"] == "ok"


def test_a_missing_firewall_rule_is_bad_and_the_fix_restores_it(story: Story) -> None:
    added = story.pi.run(["ufw", "show", "added"]).stdout.splitlines()
    [rule] = [line for line in added if "in on eth0" in line and "port 502" in line]
    story.pi.run(["sh", "-c", rule.replace("ufw ", "ufw delete ", 1)])

    report = doctor(story)

    assert report["firewall, control zone"]["found"] == "no rule allows it"
    assert report["firewall, field zone"]["level"] == "ok"
    fix(story, report["firewall, control zone"])
    assert doctor(story)["firewall, control zone"]["level"] == "ok"


def test_flushed_rules_of_the_firewall_are_bad_and_the_fix_restores_them(story: Story) -> None:
    # `ufw reload` would restore those of its own chains.
    story.pi.run(["iptables", "-F", "INPUT"])

    report = doctor(story)

    assert report["firewall"]["found"].startswith("active, but not in force: ")
    assert "Status: active" in story.pi.run(["ufw", "status"]).stdout
    fix(story, report["firewall"])
    assert doctor(story)["firewall"]["level"] == "ok"
    write_and_read(story)


def test_flushed_rules_for_ping_are_bad_and_the_fix_restores_them(story: Story) -> None:
    story.pi.run(["iptables", "-t", "raw", "-F"])

    report = doctor(story)

    found = "every host may get a reply: the chain smart-meter-ping is empty (iptables)"
    assert (report["firewall, ping"]["level"], report["firewall, ping"]["found"]) == ("bad", found)
    assert story.pi.run(["systemctl", "is-active", "smart-meter-ping"]).stdout == "active\n"
    fix(story, report["firewall, ping"])
    assert doctor(story)["firewall, ping"]["level"] == "ok"


def test_the_fleets_doctor_lists_pis_that_are_off_and_checks_the_others(story: Story, tmp_path: Path) -> None:
    story.controller.hosts["pi-off"] = {"network_control_address": "192.168.2.250/24"}
    story.controller.write()
    results = tmp_path / "doctor.json"
    write_and_read(story)
    until(story, lambda report: not report.bad())
    try:
        played = story.controller.playbook("doctor.yml", "-e", f"doctor_results={results}", check=False)
    finally:
        del story.controller.hosts["pi-off"]
        story.controller.write()

    assert played.count(NAME, "changed") == played.count("pi-off", "changed") == 0
    assert played.count(NAME, "failed") == 0, played.output
    assert played.count("pi-off", "failed") == 1, "a Pi that is off did not fail"
    assert "pi-off: a check is bad; the results above show which" in " ".join(played.output.split())
    assert f"ok   {NAME}: " in played.output
    assert "BAD  pi-off: does not answer: " in played.output
    found = {host["name"]: host for host in json.loads(results.read_text())["hosts"]}
    assert found["pi-off"]["state"] == "off"
    assert {check["level"] for check in found[NAME]["report"]["checks"]} <= {"ok", "unknown", "warning"}

    page = tmp_path / "report.html"
    subprocess.run(
        [sys.executable, REPOSITORY / "tools/report.py", "--results", results, "--out", page], check=True
    )
    assert "✖ bad" in page.read_text()
    assert "✔ good" in page.read_text()


def test_a_refused_inventory_does_not_touch_a_pi(story: Story) -> None:
    story.controller.hosts[NAME]["concentrator_prot"] = 1502
    story.controller.write()

    played = story.controller.playbook("site.yml", check=False)

    del story.controller.hosts[NAME]["concentrator_prot"]
    story.controller.write()
    assert played.returncode != 0
    assert f"{NAME}.yml" in played.output
    assert "concentrator_prot" in played.output
    assert "concentrator_port" in played.output
    assert "Gather" not in played.output
