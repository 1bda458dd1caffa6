"""What a Pi sends never controls the operator's terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roles.preflight.rules.terminal import clean
from tests.unit.roles.site import REPOSITORY, Site

ATTACK = "# \x1b]0;owned\x07\x1b[2J\x1b[8mhidden\u202eereht"
SHOWN = r"# \x1b]0;owned\x07\x1b[2J\x1b[8mhidden\u202eereht"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 20 °C, 1,600 W/m²\n\ttab\n", "plain, 20 °C, 1,600 W/m²\n\ttab\n"),
        (ATTACK, SHOWN),
        ("a\r\nb\rc\x00\x9b2J\u2066\u200f", "a\nb\\rc\\x00\\x9b2J\\u2066\\u200f"),
        ("\x1b[0;31m- old\x1b[0m", "\x1b[0;31m- old\x1b[0m"),
        ("\x1b[38;5;208mx\x1b[0m\x1b[5m", "\x1b[38;5;208mx\x1b[0m\\x1b[5m"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert clean(text, coloured=True) == shown


def test_without_colours_there_is_no_escape_sequence_at_all() -> None:
    assert clean("\x1b[0;31mx\x1b[0m", coloured=False) == r"\x1b[0;31mx\x1b[0m"


@given(st.text(), st.booleans())
def test_what_was_cleaned_is_clean(text: str, coloured: bool) -> None:
    once = clean(text, coloured=coloured)
    assert clean(once, coloured=coloured) == once
    assert once.replace("\n", "").replace("\t", "").replace("\x1b", "").isprintable()


PLAY = """
- name: Show what came from a Pi
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: As a difference
      ansible.builtin.copy:
        content: "{{ attack }}"
        dest: "{{ playbook_dir }}/out"
        mode: "0600"
      diff: true
    - name: As a message
      ansible.builtin.debug:
        msg: "{{ attack }}"
    - name: As a failure
      ansible.builtin.command:
        argv: [sh, -c, 'printf "%s" "$0" >&2; exit 1', "{{ attack }}"]
      changed_when: false
"""


@pytest.mark.parametrize("callback", ["clean", "drift"])
@pytest.mark.parametrize("colour", ["0", "1"])
def test_neither_differences_nor_errors_reach_the_terminal_as_they_are(
    tmp_path: Path, callback: str, colour: str
) -> None:
    site = Site(tmp_path)
    site.write("inventory/group_vars/all.yml", "ansible_connection: local\n")
    (site.folder / "inventory/group_vars/smart_meters.yml").unlink()
    site.hosts({"pi-north": 'attack: "# \\e]0;owned\\a\\e[2J\\e[8mhidden\\u202eereht\\n"\n'})
    site.write("show.yml", PLAY)
    folder = str(REPOSITORY / "playbooks/callback_plugins")
    variables = {"ANSIBLE_CALLBACK_PLUGINS": folder, "ANSIBLE_STDOUT_CALLBACK": callback}
    variables |= {"ANSIBLE_FORCE_COLOR": colour}

    outcome = site.play("-v", playbook="show.yml", **variables)

    assert r"\x1b[2J" in outcome.output
    for sequence in ("\x1b]", "\x1b[2J", "\x1b[8m", "\x07", "\u202e"):
        assert sequence not in outcome.output
    assert ("\x1b[" in outcome.output) == (colour == "1")


def test_every_playbook_has_this_output() -> None:
    settings = (REPOSITORY / "ansible.cfg").read_text()
    assert "\nstdout_callback = clean\ncallback_plugins = playbooks/callback_plugins\n" in settings
