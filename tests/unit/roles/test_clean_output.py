"""What a Pi answers can't control the terminal of the controller."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from playbooks.callback_plugins.clean import Coloured, escape
from tests.unit.roles.site import REPOSITORY, Site

EVIL = "\x1b[2J\x1b]0;title\x07\u202egood\u2066\x9b31m\r"

PLAY = """
- name: Answers
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: Output
      ansible.builtin.command: cat evil.txt
      changed_when: true
    - name: Message {{ evil }}
      ansible.builtin.debug:
        msg: ["{{ evil }}", "a\\tb"]
    - name: Loop
      ansible.builtin.debug:
        msg: x
      loop: ["{{ evil }}"]
    - name: Difference
      ansible.builtin.copy:
        content: "{{ evil }}"
        dest: "{{ playbook_dir }}/written"
        mode: "0600"
      diff: true
    - name: Failure
      ansible.builtin.fail:
        msg: "{{ evil }}"
"""


def test_a_text_keeps_its_lines_and_loses_its_control_characters() -> None:
    assert escape("one\n\ttwo Büro °C €") == "one\n\ttwo Büro °C €"
    assert escape(EVIL) == "\\x1b[2J\\x1b]0;title\\x07\\u202egood\\u2066\\x9b31m\\r"
    assert escape(escape(EVIL)) == escape(EVIL)
    assert Coloured("\x1b[0m") == "\x1b[0m"


@pytest.mark.parametrize("verbose", [[], ["-vvv"]], ids=["as usual", "verbose"])
def test_nothing_that_a_pi_answers_reaches_the_terminal_raw(tmp_path: Path, verbose: list[str]) -> None:
    site = Site(tmp_path)
    site.write("inventory/group_vars/all.yml", "ansible_connection: local\nansible_become: false\n")
    (tmp_path / "inventory/group_vars/smart_meters.yml").unlink()
    site.hosts({"pi-north": ""})
    site.write("evil.txt", EVIL)
    site.write("play.yml", PLAY)
    site.write(
        "group_vars/all.yml", "evil: \"{{ lookup('ansible.builtin.file', playbook_dir ~ '/evil.txt') }}\"\n"
    )

    outcome = site.play(
        *verbose,
        playbook="play.yml",
        ANSIBLE_CALLBACK_PLUGINS=str(REPOSITORY / "playbooks/callback_plugins"),
        ANSIBLE_STDOUT_CALLBACK="clean",
        ANSIBLE_CALLBACK_RESULT_FORMAT="yaml",
    )

    assert outcome.returncode == 2, outcome.output
    assert outcome.output.count("\\x1b[2J") >= 4 or outcome.output.count("\\e[2J") >= 1, outcome.output
    assert {character for character in EVIL if not character.isprintable()} & set(outcome.output) == set()
    assert "failed=1" in outcome.output


def test_drift_shows_a_difference_escaped(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("inventory/group_vars/all.yml", "ansible_connection: local\nansible_become: false\n")
    (tmp_path / "inventory/group_vars/smart_meters.yml").unlink()
    site.hosts({"pi-north": ""})
    site.write("written", EVIL)
    task = {
        "name": "Write",
        "ansible.builtin.copy": {"content": "good\n", "dest": "{{ playbook_dir }}/written"},
    }
    play = {"name": "Drift", "hosts": "smart_meters", "gather_facts": False, "tasks": [task]}
    site.write("play.yml", yaml.safe_dump([play]))

    outcome = site.play(
        "--check", "--diff", playbook="play.yml", ANSIBLE_STDOUT_CALLBACK="drift", ANSIBLE_FORCE_COLOR="0"
    )

    assert outcome.returncode == 0, outcome.output
    assert outcome.output.startswith("pi-north: Write\n--- before")
    assert "-\\x1b[2J\\x1b]0;title\\x07\\u202egood" in outcome.output
    assert "+good" in outcome.output
    assert {character for character in EVIL if not character.isprintable()} & set(outcome.output) == set()


@pytest.mark.parametrize(
    ("module", "written", "lines"),
    [
        ("managed_files", ["/etc/a", "/etc/b"], ["  /etc/a", "  /etc/b"]),
        (
            "managed_files",
            ["/etc/a\n\nPLAY RECAP\npi-south : ok=9"],
            ["  /etc/a\\n\\nPLAY RECAP\\npi-south : ok=9"],
        ),
        ("managed_files", 5, []),
        ("managed_files", "/etc/a", []),
        ("other", ["/etc/a"], []),
    ],
)
def test_only_the_paths_of_written_files_are_listed_each_on_a_line(
    tmp_path: Path, module: str, written: object, lines: list[str]
) -> None:
    """A Pi under someone else's control may answer anything."""
    site = Site(tmp_path)
    site.write("inventory/group_vars/all.yml", "ansible_connection: local\nansible_become: false\n")
    (tmp_path / "inventory/group_vars/smart_meters.yml").unlink()
    site.hosts({"pi-north": ""})
    answer = json.dumps({"changed": True, "written": written})
    (tmp_path / "library").mkdir()
    site.write(f"library/{module}.py", f"#!/usr/bin/python3\n# WANT_JSON\nprint({answer!r})\n")
    play = {
        "name": "Play",
        "hosts": "smart_meters",
        "gather_facts": False,
        "tasks": [{"name": "Write", module: {}}],
    }
    site.write("play.yml", yaml.safe_dump([play]))

    outcome = site.play(
        playbook="play.yml", ANSIBLE_STDOUT_CALLBACK="clean", ANSIBLE_LIBRARY=str(tmp_path / "library")
    )

    assert outcome.returncode == 0, outcome.output
    after = outcome.output.partition("changed: [pi-north]\n")[2].partition("\nPLAY RECAP")[0]
    assert [line for line in after.splitlines() if line] == lines
    assert "failed" not in outcome.output.partition("PLAY RECAP")[0]
