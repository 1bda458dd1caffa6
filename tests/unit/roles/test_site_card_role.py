"""A site card has what the roles write on a Pi that has started: the texts that site.yml compares."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.template import trust_as_template
from tests.unit.roles.looks import answer
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import load, templar

PLAYBOOK = load(REPOSITORY / "playbooks/site_card.yml")
OF_THE_CARD: dict[str, Any] = PLAYBOOK[0]["vars"]["preflight_look"]
# A Pi that has applied a card: its profiles have the UUIDs that are made of their names.
OF_THE_PI = answer({"profiles": {"field": "", "control": ""}, "nm.profiles": []})
ROLES = ("appliance", "network", "firewall", "concentrator")
HOSTS: dict[str, dict[str, Any]] = {
    "default": {},
    "wired": {
        "network_field_type": "ethernet",
        "network_field_interface": "eth1",
        "concentrator_port_binding": "socket",
        "appliance_unattended_reboot_time": "03:30",
        "appliance_watchdog_seconds": 15,
        "appliance_ntp_servers": ["192.168.2.1"],
    },
}


def rendered(role: str, name: str, look: dict[str, Any], **variables: Any) -> Any:
    given = {"ansible_user": "pi", "network_country": "DE", "network_field_ssid": "north-field", **variables}
    role_path = str(REPOSITORY / "roles" / role)
    now = templar(**given, network_field_psk="correct-horse", preflight_look=look, role_path=role_path)
    return now.template(trust_as_template(f"{{{{ {name} }}}}"))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("role", ROLES)
def test_the_texts_are_those_of_a_running_pi(role: str, host: str) -> None:
    for part in ("files", "texts"):
        name = f"__{role}_{part}"
        assert rendered(role, name, OF_THE_CARD, **HOSTS[host]) == rendered(
            role, name, OF_THE_PI, **HOSTS[host]
        )


@pytest.mark.parametrize("host", HOSTS)
def test_the_rules_and_the_files_of_the_appliance_are_those_of_a_running_pi(host: str) -> None:
    rules = [
        rendered("firewall", "__firewall_wanted", look, **HOSTS[host]) for look in (OF_THE_CARD, OF_THE_PI)
    ]
    assert rules[0] == rules[1]

    # SSH's settings are among them in tasks/ssh_change.yml of a running Pi.
    sshd = "/etc/ssh/sshd_config.d/10-smart-meter.conf"
    pi = {**OF_THE_PI, "files": {"/etc/cloud/cloud.cfg.d": None}}
    wanted = [
        set(rendered("appliance", "__appliance_wanted", look, __appliance_differs=[], **HOSTS[host])) - {sshd}
        for look in (OF_THE_CARD, pi)
    ]
    assert wanted[0] == wanted[1]
    assert sshd in rendered("appliance", "__appliance_wanted", OF_THE_CARD, **HOSTS[host])
