"""What a playbook prints while a Pi takes long."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.roles.site import REPOSITORY, Site


@pytest.mark.parametrize("output", ["clean", "drift"])
def test_a_task_that_takes_longer_than_five_seconds_is_shown_with_its_pis(
    tmp_path: Path, output: str
) -> None:
    site = Site(tmp_path)
    site.write("inventory/group_vars/all.yml", "ansible_connection: local\nansible_become: false\n")
    (tmp_path / "inventory/group_vars/smart_meters.yml").unlink()
    site.hosts({"pi-north": "", "pi-south": ""})
    tasks = [
        {"name": "Do something quickly", "ansible.builtin.command": "true"},
        {
            "name": "Wait for the south",
            "ansible.builtin.command": "sleep {{ 7 if inventory_hostname == 'pi-south' else 1 }}",
            "check_mode": False,
        },
    ]
    play = {"name": "Wait", "hosts": "smart_meters", "gather_facts": False, "tasks": tasks}
    site.write("play.yml", yaml.safe_dump([play]))

    outcome = site.play(
        playbook="play.yml",
        ANSIBLE_CALLBACK_PLUGINS=str(REPOSITORY / "playbooks/callback_plugins"),
        ANSIBLE_STDOUT_CALLBACK=output,
        ANSIBLE_CALLBACK_RESULT_FORMAT="yaml",
    )

    assert outcome.returncode == 0, outcome.output
    shown = [line for line in outcome.output.splitlines() if "still running" in line]
    assert len(shown) == 1, outcome.output
    assert shown[0].endswith(" s: Wait for the south: pi-south")
