"""The check of a Pi, run on this machine in place of a Pi: it changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.unit.roles import in_place_of_ssh
from tests.unit.roles.site import Site, good_host

LOOK = """
- name: Look
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: Look
      ansible.builtin.import_role: {name: preflight, tasks_from: pi.yml}
"""

HERE = f"""ansible_connection: local
ansible_become: false
ansible_python_interpreter: {sys.executable}
network_field_interface: nowhere0
preflight_disk_megabytes: 900000000
"""


@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["play", "check mode"])
def test_everything_is_reported_at_once_with_file_and_fix(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    site = Site(tmp_path)
    site.write("look.yml", LOOK)
    site.hosts({"pi-here": good_host(10) + HERE})
    outcome = site.play(*arguments, playbook="look.yml")
    assert outcome.returncode == 2
    lines = {line.strip() for line in outcome.output.splitlines()}
    interface = (
        "inventory/host_vars/pi-here.yml:6: network_field_interface: this Pi has no interface nowhere0; "
    )
    assert any(line.startswith(f"{interface}give one that it has: ") for line in lines)
    assert any(line.startswith("pi-here: has ") and "and 900000000 MB are needed" in line for line in lines)


def test_what_login_and_sudo_print_is_not_the_answer(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("look.yml", LOOK)
    site.hosts({"pi-here": good_host(10) + HERE.replace("ansible_connection: local\n", "")})
    environment = in_place_of_ssh.install(tmp_path / "ssh", noise=in_place_of_ssh.NOISE)
    outcome = site.play(playbook="look.yml", **environment)
    assert "does not answer" not in outcome.output
    assert "its clock is" not in outcome.output, "1700000000 is of the noise"
    assert "and 900000000 MB are needed" in outcome.output, "the look came to its end"
