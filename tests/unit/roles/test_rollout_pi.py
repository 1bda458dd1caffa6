"""One round trip to a Pi: only the command's own output is its answer, whatever else is printed."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from roles.concentrator.rollout.pi import between, marked
from tests.unit.roles import in_place_of_ssh
from tests.unit.roles.site import Outcome, Site

MARK = "5eed5eed5eed5eed"
OFF = "ssh: connect to host 192.168.2.100 port 22: No route to host"
REFUSED = "pi@192.168.2.100: Permission denied (publickey)."
STALE = "Shared connection to 192.168.2.100 closed."
LOOK = """
- name: Look
  hosts: smart_meters
  gather_facts: false
  tasks:
    - name: Look
      ansible.builtin.import_role: {name: concentrator, tasks_from: inspect.yml}
      vars: {preflight_checked: {configurations: {pi-here: wanted}}}
    - name: Show
      ansible.builtin.debug:
        msg: "found={{ __concentrator_inspected | to_json | b64encode }}="
"""


def printed(command: str) -> subprocess.CompletedProcess[str]:
    noisy = f"printf '%s' '{in_place_of_ssh.NOISE}'; printf '%s' '{in_place_of_ssh.NOISE}' >&2; {command}"
    return subprocess.run(["/bin/sh", "-c", noisy], check=False, capture_output=True, text=True)


def test_both_outputs_and_the_status_are_the_commands_own() -> None:
    done = printed(marked("printf '\\nout\\n\\nput'; echo problem >&2; (exit 7)", MARK))

    assert between(done.stdout, MARK) == "out\n\nput"
    assert between(done.stderr, MARK) == "problem"
    assert done.returncode == 7


def test_a_terminals_line_ends_do_not_belong_to_the_answer() -> None:
    done = printed(marked("echo out", MARK))

    assert between(done.stdout.replace("\n", "\r\n"), MARK) == "out"


@pytest.mark.parametrize(
    "output", ["", "echo begin X; exit", "\nbegin X\nhalf of the ans", f"begin {MARK}\nout"]
)
def test_what_did_not_run_to_its_end_is_not_an_answer(output: str) -> None:
    assert between(output.replace("X", MARK), MARK) is None


def test_the_command_line_itself_is_not_an_answer_where_it_is_echoed() -> None:
    assert between(marked("echo out", MARK), MARK) is None


def look(folder: Path, *, noise: str = "", refusals: Sequence[str] = ()) -> tuple[Outcome, dict[str, Any]]:
    site = Site(folder)
    site.write("look.yml", LOOK)
    site.hosts({"pi-here": "ansible_host: 192.168.2.100\nansible_become: false\n"})
    outcome = site.play(
        playbook="look.yml", **in_place_of_ssh.install(folder / "ssh", noise=noise, refusals=refusals)
    )
    found = re.search(r"found=([\w+/=]+)=", outcome.output)
    return outcome, json.loads(base64.b64decode(found[1])) if found else {}


def test_the_look_reads_past_all_noise(tmp_path: Path) -> None:
    (quiet := tmp_path / "quiet").mkdir()
    (noisy := tmp_path / "noisy").mkdir()

    _, expected = look(quiet)
    outcome, found = look(noisy, noise=in_place_of_ssh.NOISE)

    assert outcome.returncode == 0, outcome.output
    assert found["before"] == expected["before"]
    assert found["before"] != "nothing", "which is of the noise"
    assert found["why"] == expected["why"]


def test_only_no_answer_is_off(tmp_path: Path) -> None:
    outcome, found = look(tmp_path, refusals=[OFF])

    assert outcome.returncode == 0, outcome.output
    assert (found["off"], found["why"]) == (OFF, [])


def test_a_refusal_fails_with_the_pi_the_reason_and_the_fix(tmp_path: Path) -> None:
    outcome, _ = look(tmp_path, refusals=[REFUSED])

    assert outcome.returncode == 2, outcome.output
    assert f"pi-here: {REFUSED}; this controller's public key has to be in" in " ".join(
        outcome.output.split()
    )


def test_a_connection_kept_from_before_that_is_broken_is_made_again(tmp_path: Path) -> None:
    outcome, found = look(tmp_path, refusals=[STALE])
    assert outcome.returncode == 0, outcome.output
    assert found["off"] == ""


def test_what_a_new_connection_reports_counts(tmp_path: Path) -> None:
    outcome, found = look(tmp_path, refusals=[STALE, OFF])
    assert outcome.returncode == 0, outcome.output
    assert found["off"] == OFF
