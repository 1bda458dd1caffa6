"""The preflight, run by `ansible-playbook` over an inventory, without any Pi."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.roles.site import (
    ALL,
    FROM_VAULT,
    PASSPHRASE,
    REPOSITORY,
    SUDO_PASSWORD,
    Outcome,
    Site,
    good_host,
)

OTHER_VAULT = """network_field_psk: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  62313365396662343061393464336163383764373764613633653634306231386433626436623361
  6134333665353966363534333632666535333761666131620a663537646436643839616531643561
  63396265333966386166373632626539326665353965363262633030333630313338646335303630
  3438626666666137650a353638643435666633633964366338633066623234616432373231333331
  6564
"""

METERS = """concentrator_meters:
  - name: roof-east
    unit_id: 3
    measurements: [{name: P_ac, address: 0, type: uint16}]
  - name: roof-west
    unit_id: 3
    measurements: [{name: P_ac, address: 0, type: uint16}]
"""

UNQUOTE = "without quotation marks (on the command line as JSON: -e '{\"NAME\": VALUE}')"
QUOTE = "in quotation marks (YAML reads no, yes, on, off and digits as something else)"
PASSPHRASES = "8 to 63 printable ASCII characters or 64 hexadecimal digits"

# Each Pi has one kind of mistake, after its two addresses on lines 1 and 2; and the problems of its file.
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "pi-good": ("", []),
    "pi-spelling": (
        "concentrator_prot: 1502\nnetwrok_field_gateway: 192.168.1.1\n",
        [
            ":3: concentrator_prot: is not a variable of the role concentrator; "
            "did you mean concentrator_port?",
            ":4: netwrok_field_gateway: is not a variable of any role; did you mean network_field_gateway?",
        ],
    ),
    "pi-key": (
        "firewall_extra_rules:\n  - {comment: Page, from: 192.168.2.0/24, port: 80, prot: tcp}\n",
        [":4: firewall_extra_rules[0].prot: is an unknown key; did you mean proto?"],
    ),
    "pi-type": (
        'appliance_ssh_key_only: "no"\nconcentrator_port: "502"\n',
        [
            f':3: appliance_ssh_key_only: "no" is text; give true or false {UNQUOTE}',
            f':4: concentrator_port: "502" is text; give a whole number {UNQUOTE}',
        ],
    ),
    "pi-passphrase": (
        'network_field_psk: ""\n',
        [
            ":3: network_field_psk: is missing; give the Wi-Fi's passphrase, "
            f"{PASSPHRASES}, and keep it in Ansible Vault"
        ],
    ),
    "pi-short": (
        "network_field_psk: sesame7\n",
        [f":3: network_field_psk: is malformed (its value is not shown); give {PASSPHRASES}"],
    ),
    "pi-number": (
        "network_field_psk: 1234567890\n",
        [f":3: network_field_psk: the value is a number to YAML; give text {QUOTE}"],
    ),
    "pi-vault": (
        OTHER_VAULT,
        [
            ":3: network_field_psk: can't be decrypted with the given vault passwords; give the right one "
            "(--vault-password-file or --ask-vault-pass), or encrypt the value again "
            "(ansible-vault encrypt_string)"
        ],
    ),
    "pi-norway": (
        "network_country: NO\n",
        [f":3: network_country: false is a truth value to YAML; give text {QUOTE}"],
    ),
    "pi-meters": (
        METERS,
        [
            ':8: concentrator_meters[1].unit_id: 3 is already the unit identifier of meter "roof-east"; '
            "give each meter its own (1 to 247)"
        ],
    ),
    "pi-undefined": (
        'firewall_ssh_from: [192.168.2.0/24, "{{ office_network }}"]\n',
        [":3: firewall_ssh_from[1]: 'office_network' is undefined; define it, or fix the expression"],
    ),
    "pi-range": (
        "concentrator_port: 70000\n",
        [":3: concentrator_port: 70000 is out of range; give an integer from 1 to 65535"],
    ),
    "pi-host": (
        "ansible_host: 192.168.2.99\n",
        [
            ":3: ansible_host: 192.168.2.99 is in the control network, where this Pi will have 192.168.2.22; "
            "give that address here, and the one of a fresh Pi as network_bootstrap_host"
        ],
    ),
    "pi-names": (
        "Concentrator_Port: 1502\n__network_zones: []\nansible_prot: 2222\nconcentrator-port: 1502\n",
        [
            ":3: Concentrator_Port: is not a variable of any role; did you mean concentrator_port?",
            ":4: __network_zones: is computed by a role, which would go on with this value; "
            "set the role's own variables",
            ":5: ansible_prot: is not a variable of Ansible's; did you mean ansible_port?",
            ":6: concentrator-port: is not a variable of any role; did you mean concentrator_port?",
        ],
    ),
    "pi-login": (
        "ansible_port: abc\nansible_user:\n",
        [
            ':3: ansible_port: "abc" is not a port; '
            "give the port of the Pi's SSH server, or leave the line out for 22",
            ":4: ansible_user: is empty; give the user to log in as, or leave the line out",
        ],
    ),
    "pi-base-60": (
        "concentrator_port: 8:22\nappliance_unattended_reboot_time: 3:30\nfirewall_ssh_port: 026\n",
        [
            ":3: concentrator_port: 8:22 is 502 to YAML, which reads digits with a colon in base 60; "
            "put text in quotation marks, or write the number that is meant",
            ":4: appliance_unattended_reboot_time: 3:30 is 210 to YAML, which reads digits with a colon in "
            "base 60; put text in quotation marks, or write the number that is meant",
            ":5: firewall_ssh_port: 026 is 22 to YAML, which reads a number with a leading zero in base 8; "
            "put text in quotation marks, or leave the zero out",
        ],
    ),
    "pi-template": (
        "appliance_timezone: \"{{ 'a' }\"\n"
        "concentrator_name: '{{ preflight_site | nofilter }}'\n"
        "concentrator_field_peer: '{% if %}x'\n"
        "concentrator_field_medium: '{{ secret_text }}'\n"
        "concentrator_control_peer: '{{ 1 / 0 }}'\n"
        "network_field_dns: ['{{ preflight_site | from_json }}']\n"
        "network_field_psk: 'sesame7{{'\n"
        "secret_text: 'sesame7{% sesame7'\n",
        [
            ":3: appliance_timezone: is not a template: unexpected '}'; fix the expression",
            ":4: concentrator_name: is not a template: there is no filter nofilter; fix the expression",
            ":5: concentrator_field_peer: is not a template: "
            "Expected an expression, got 'end of statement block'; fix the expression",
            ":6: concentrator_field_medium: can't be templated (ansible HOST -m debug -a var=NAME shows what "
            "is wrong); fix the expression",
            ":7: concentrator_control_peer: can't be templated: division by zero; fix the expression",
            ":8: network_field_dns[0]: can't be templated: the filter ansible.builtin.from_json fails; "
            "fix the expression",
            ":9: network_field_psk: can't be templated (ansible HOST -m debug -a var=NAME shows what "
            "is wrong); fix the expression",
        ],
    ),
    "pi_underscore": (
        "",
        [
            ': appliance_hostname: "pi_underscore" is not a host name; give letters, digits and hyphens, '
            "63 at most (RFC 1123)"
        ],
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("site"))
    site.hosts({name: good_host(10 + i) + text for i, (name, (text, _)) in enumerate(MISTAKES.items())})
    return site


@pytest.fixture(scope="module")
def refused(site: Site) -> Outcome:
    return site.play()


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_reported_with_file_line_variable_and_fix(refused: Outcome, name: str) -> None:
    file = f"inventory/host_vars/{name}.yml"
    problems = [line.removeprefix(file) for line in refused.problems if line.startswith(file)]
    assert problems == MISTAKES[name][1]


def test_nothing_else_is_refused(refused: Outcome) -> None:
    assert len(refused.problems) == sum(len(problems) for _, problems in MISTAKES.values())


def test_the_play_ends_before_any_pi_is_touched(refused: Outcome) -> None:
    assert refused.returncode == 2
    assert "31 problems in the inventory (17 of 18 Pis), listed above; no Pi was touched" in refused.output
    assert "a Pi was touched" not in refused.output


def test_no_secret_is_printed_however_verbose(site: Site, refused: Outcome) -> None:
    for output in (refused.output, site.play("-vvv").output):
        for secret in (PASSPHRASE, SUDO_PASSWORD, "sesame7", "1234567890"):
            assert secret not in output


def test_json_results_do_not_change_the_lines(site: Site, refused: Outcome) -> None:
    assert site.play(ANSIBLE_CALLBACK_RESULT_FORMAT="json").problems == refused.problems


def test_a_good_inventory_passes_in_check_mode_too(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hosts({"pi-north": good_host(10), "pi-south": good_host(11)})
    for arguments in ((), ("--check", "--diff")):
        outcome = site.play(*arguments)
        assert outcome.returncode == 0, outcome.output
        assert outcome.problems == []
        assert "changed=0" in outcome.output
        assert "a Pi was touched" in outcome.output


def test_addresses_are_compared_with_hosts_outside_the_limit(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hosts({"pi-north": good_host(10), "pi-south": good_host(10), "pi-west": good_host(12)})
    outcome = site.play("--limit", "pi-south")
    fix = "give each Pi of a site its own, or set preflight_site if they are at different sites"
    assert outcome.problems == [
        "inventory/host_vars/pi-south.yml:1: network_field_address: 192.168.1.10 of pi-south is "
        f"network_field_address of pi-north already (inventory/host_vars/pi-north.yml:1); {fix}",
        "inventory/host_vars/pi-south.yml:2: network_control_address: 192.168.2.10 of pi-south is "
        f"network_control_address of pi-north already (inventory/host_vars/pi-north.yml:2); {fix}",
    ]
    assert site.play("--limit", "pi-west").returncode == 0


def test_sites_may_use_the_same_addresses_through_jump_hosts_of_their_own(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hosts(
        {
            f"pi-{name}": good_host(10)
            + f"preflight_site: {name}\nansible_ssh_common_args: -o ProxyJump=gate-{name} "
            + "-o HostKeyAlias={{ inventory_hostname }}\n"
            for name in ("north", "south")
        }
    )
    outcome = site.play()
    assert outcome.returncode == 0, outcome.output


def test_a_missing_vault_is_reported_for_each_secret_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(
        "inventory/group_vars/all.yml",
        ALL.replace("vault_sudo", "vault_become_password").replace("vault_psk", "vault_network_field_psk"),
    )
    site.hosts({"pi-north": good_host(10), "pi-south": good_host(11)})
    fix = "define it in the vault (make vault, or ansible-vault edit)"
    assert site.play().problems == [
        "inventory/group_vars/all.yml:4: ansible_become_password: 'vault_become_password' is undefined; "
        + fix,
        "inventory/group_vars/all.yml:7: network_field_psk: 'vault_network_field_psk' is undefined; " + fix,
    ]


def test_the_sudo_password_may_come_from_elsewhere(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(
        "inventory/group_vars/all.yml", ALL.replace(f"ansible_become_password: {FROM_VAULT['sudo']}", "")
    )
    site.write("password", SUDO_PASSWORD)
    site.hosts({"pi-north": good_host(10)})
    assert site.play().only("ansible_become_password") == (
        "inventory/host_vars/pi-north.yml: ansible_become_password: is missing, and sudo on the Pi asks for "
        "it; give it and keep it in Ansible Vault, run with --ask-become-pass, or set "
        "preflight_sudo_asks: false"
    )
    assert site.play("--become-password-file", "password").returncode == 0
    assert site.play("-e", '{"preflight_sudo_asks": false}').returncode == 0


def test_extra_variables_are_checked_too(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hosts({"pi-north": good_host(10)})
    outcome = site.play("-e", "concentrator_prot=1", "-e", '{"concentrator_log_format": "jsn"}')
    assert outcome.problems == [
        'command line (-e): concentrator_log_format: "jsn" is unknown; give text or json; did you mean json?',
        "command line (-e): concentrator_prot: is not a variable of the role concentrator; "
        "did you mean concentrator_port?",
    ]


def test_what_an_inventory_script_gives_is_reported_with_the_script(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("inventory/group_vars/all.yml", ALL + good_host(10))
    fleet = {
        "smart_meters": {"hosts": ["pi-north"], "vars": {"concentrator_prot": 1}},
        "_meta": {"hostvars": {}},
    }
    site.write("inventory/fleet.sh", f"#!/bin/sh\necho '{json.dumps(fleet)}'\n")
    (tmp_path / "inventory/fleet.sh").chmod(0o755)
    assert site.play().problems == [
        "inventory/fleet.sh: concentrator_prot: is not a variable of the role concentrator; "
        "did you mean concentrator_port?"
    ]


def test_a_pi_that_was_found_elsewhere_is_judged_by_the_inventory(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hosts({"pi-north": good_host(10)})
    site.write(
        "twice.yml",
        """
- name: Find it where DHCP has put it
  hosts: all
  gather_facts: false
  tasks:
    - name: As the role's reach.yml leaves it
      ansible.builtin.set_fact:
        preflight_inventory_host: "{{ ansible_host }}"
        ansible_host: 192.168.2.199
      connection: local
- name: Check
  ansible.builtin.import_playbook: site.yml
""",
    )
    outcome = site.play(playbook="twice.yml")
    assert outcome.returncode == 0, outcome.output


def test_a_value_from_the_right_vault_is_checked_like_any(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("vault-password", "opensesame")
    vault = [str(Path(sys.executable).with_name("ansible-vault")), "encrypt_string"]
    encrypted = subprocess.run(
        [*vault, "--vault-password-file", "vault-password", "--name", "network_field_psk", "seven77"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    site.hosts({"pi-north": good_host(10) + encrypted})
    outcome = site.play("--vault-password-file", "vault-password")
    assert outcome.only("network_field_psk").endswith(
        "network_field_psk: is malformed (its value is not shown); "
        "give 8 to 63 printable ASCII characters or 64 hexadecimal digits"
    )
    assert "seven77" not in outcome.output


def test_values_in_hosts_yml_and_files_with_another_suffix_are_checked(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hosts({"pi-north": good_host(10)})
    site.write(
        "inventory/hosts.yml",
        "smart_meters:\n  hosts:\n    pi-north:\n      ansible_port: 8:22\n"
        "    pi-off:\n      ansible_port: 8:22\n",
    )
    site.write("inventory/host_vars/pi-off.yml", good_host(11) + "concentrator_port: 8:22\n")
    site.write("inventory/hosts.yaml", "")
    site.write("inventory/host_vars/pi-north.yaml", "concentrator_port: 1502\n")
    outcome = site.play("--limit", "pi-north", inventory="inventory/hosts.yml")
    assert outcome.problems == [
        "inventory/host_vars/pi-north.yaml: pi-north: is not read beside host_vars/pi-north.yml; "
        "move its lines there",
        "inventory/hosts.yaml: hosts: is not read beside hosts.yml; move its lines there",
        "inventory/hosts.yml:4: ansible_port: 8:22 is 502 to YAML, which reads digits with a colon "
        "in base 60; put text in quotation marks, or write the number that is meant",
    ]
