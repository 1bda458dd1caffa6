"""Where a Pi answers: the real tasks, and instead of ssh a program that runs the command here, or refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.unit.roles.site import Outcome, Site

# Ansible calls it as `ssh OPTIONS HOST COMMAND`, and with -O to close a connection that it keeps.
SSH = f"""#!{sys.executable}
import os, sys
from pathlib import Path
arguments = sys.argv[1:]
if "-O" in arguments:
    sys.exit(0)
position = 0
while arguments[position].startswith("-"):
    position += 1 if arguments[position] in {{"-C", "-tt", "-q"}} else 2
host, command = arguments[position], arguments[position + 1 :]
here = Path(__file__).parent
with (here / "asked").open("a") as asked:
    asked.write(host + "\\n")
asked_before = set((here / "asked").read_text().split()) - {{host}}
alive = (here / "alive").read_text().split() + ((here / "later").read_text().split() if asked_before else [])
if host not in alive:
    print(f"ssh: connect to host {{host}} port 22: No route to host", file=sys.stderr)
    sys.exit(255)
os.execv("/bin/sh", ["sh", "-c", " ".join(command)])
"""

REACH = """
- name: Reach
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: Find it
      ansible.builtin.import_role: {name: preflight, tasks_from: reach.yml}
    - name: Report
      ansible.builtin.debug:
        msg: "reached at {{ ansible_host }}, the inventory has {{ preflight_inventory_host }}"
"""

# Provisioning ends with the last task; the fact outlives the run.
REMEMBER = """
- name: Reach again
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: Find it
      ansible.builtin.import_role: {name: preflight, tasks_from: reach.yml}
    - name: Remember
      ansible.builtin.set_fact:
        preflight_last_host: "{{ ansible_host }}"
        cacheable: true
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.write("ssh", SSH)
    (tmp_path / "ssh").chmod(0o755)
    site.write("reach.yml", REACH)
    site.write("remember.yml", REACH + REMEMBER)
    return site


def reach(
    site: Site, *alive: str, later: str = "", check: bool = False, playbook: str = "reach.yml"
) -> tuple[Outcome, list[str]]:
    """Play, with SSH answering at these hosts; return the outcome, and the hosts asked in order.

    later: a host that answers once another one has been asked.
    """
    site.write("alive", " ".join(alive))
    site.write("later", later)
    (site.folder / "asked").unlink(missing_ok=True)
    outcome = site.play(
        *(["--check"] if check else []),
        playbook=playbook,
        ANSIBLE_SSH_EXECUTABLE=str(site.folder / "ssh"),
        ANSIBLE_REMOTE_TEMP=str(site.folder / "remote"),
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        ANSIBLE_CACHE_PLUGIN="ansible.builtin.jsonfile",
        ANSIBLE_CACHE_PLUGIN_CONNECTION=str(site.folder / "facts"),
    )
    asked = (site.folder / "asked").read_text().split()
    return outcome, list(dict.fromkeys(asked))


HOST = "ansible_host: 192.168.2.100\nansible_become: true\npreflight_reach_seconds: 1\n"


def test_a_pi_at_its_address_is_asked_nowhere_else(site: Site) -> None:
    site.hosts({"pi-north": HOST + "network_bootstrap_host: fresh.example\n"})
    outcome, asked = reach(site, "192.168.2.100", "fresh.example")
    assert outcome.returncode == 0, outcome.output
    assert asked == ["192.168.2.100"]
    assert "reached at 192.168.2.100, the inventory has 192.168.2.100" in outcome.output


@pytest.mark.parametrize("check", [False, True], ids=["play", "check mode"])
def test_a_fresh_pi_is_found_where_it_is_before_its_first_provisioning(site: Site, check: bool) -> None:
    site.hosts({"pi-north": HOST + "network_bootstrap_host: fresh.example\n"})
    outcome, asked = reach(site, "fresh.example", check=check)
    assert outcome.returncode == 0, outcome.output
    assert asked == ["192.168.2.100", "fresh.example"]
    assert "reached at fresh.example, the inventory has 192.168.2.100" in outcome.output


def test_a_pi_that_starts_while_the_others_are_tried_is_found_at_its_address(site: Site) -> None:
    site.hosts({"pi-north": HOST + "network_bootstrap_host: fresh.example\n"})
    outcome, asked = reach(site, later="192.168.2.100")
    assert outcome.returncode == 0, outcome.output
    assert asked == ["192.168.2.100", "fresh.example"]
    assert "reached at 192.168.2.100, the inventory has 192.168.2.100" in outcome.output


def test_an_address_that_refuses_is_asked_once_if_there_is_another(site: Site) -> None:
    """SSH may block an address that asks too often."""
    site.hosts({"pi-north": HOST + "network_bootstrap_host: fresh.example\n"})
    reach(site, "fresh.example")
    assert (site.folder / "asked").read_text().split().count("192.168.2.100") == 1


def test_a_pi_whose_address_changed_in_the_inventory_is_found_at_the_last_one(site: Site) -> None:
    site.hosts({"pi-north": HOST})
    reach(site, "192.168.2.100", playbook="remember.yml")
    site.hosts({"pi-north": HOST.replace("100", "101")})
    outcome, asked = reach(site, "192.168.2.100", playbook="remember.yml")
    assert outcome.returncode == 0, outcome.output
    assert asked == ["192.168.2.101", "192.168.2.100"]
    assert "reached at 192.168.2.100, the inventory has 192.168.2.101" in outcome.output


def test_a_pi_that_answers_nowhere_is_reported_with_all_that_was_tried(site: Site) -> None:
    site.hosts({"pi-north": HOST + "network_bootstrap_host: fresh.example\n"})
    outcome, _ = reach(site)
    assert outcome.returncode == 2
    lines = [line.strip() for line in outcome.output.splitlines()]
    assert "192.168.2.100: ssh: connect to host 192.168.2.100 port 22: No route to host" in lines
    assert "fresh.example: ssh: connect to host fresh.example port 22: No route to host" in lines
    assert "network_bootstrap_host in host_vars/pi-north.yml." in lines


# What a Pi may put into the answer of any module.
FORGE = """
- name: Answer
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: Answer with a fact
      ansible.builtin.set_fact:
        preflight_last_host: "{{ forged }}"
        cacheable: true
"""


@pytest.mark.parametrize(
    "forged",
    ["-oProxyCommand=touch proxied", "192.168.2.7 -oProxyCommand=x", "pi@office", "a\nb", ["office"], 7],
)
def test_only_an_address_or_a_host_name_is_tried(site: Site, forged: object) -> None:
    site.hosts({"pi-north": HOST + f"forged: {json.dumps(forged)}\n"})
    site.write("forge.yml", FORGE + REACH)
    outcome, asked = reach(site, playbook="forge.yml")
    assert asked == ["192.168.2.100"]
    assert outcome.returncode == 2
    assert not (site.folder / "proxied").exists()
    words = " ".join(outcome.output.split())
    assert "pi-north: the address recorded at the last run, " in words
    assert "is neither a host name nor an address; it is ignored" in words
