"""A run that would select no Pi fails, in every playbook and make target."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.roles.site import REPOSITORY, Outcome, Site, good_host

PLAYBOOKS = sorted(path.name for path in (REPOSITORY / "playbooks").glob("*.yml"))
TARGETS = ["site-card", "check", "provision", "configure", "rollback", "drift", "verify", "doctor", "report"]

GOOD = "smart_meters:\n  children:\n    site_north:\n      hosts:\n        pi-north:\n    site_new:\n"
MISSPELT = GOOD.replace("smart_meters:", "smart_meter:")
RENAME = (
    "inventory/hosts.yml:1: there is no group smart_meters, on which every playbook runs; "
    "rename smart_meter to smart_meters"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("site"))
    site.write("inventory/group_vars/all.yml", "")
    (site.folder / "inventory/group_vars/smart_meters.yml").unlink()
    return site


def play(site: Site, inventory: str | None, playbook: str, *arguments: str) -> Outcome:
    """Run one of the repository's playbooks from the folder of an inventory; None: there is no hosts.yml."""
    hosts = site.folder / "inventory/hosts.yml"
    hosts.unlink(missing_ok=True)
    if inventory is not None:
        site.write("inventory/hosts.yml", inventory)
    path = str(REPOSITORY / "playbooks" / playbook)
    return site.play("-i", "inventory/hosts.yml", *arguments, playbook=path, inventory="")


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_misspelt_group_fails_every_playbook(site: Site, playbook: str) -> None:
    outcome = play(site, MISSPELT, playbook)
    assert outcome.returncode == 1, outcome.output
    assert f"[ERROR]: {RENAME}\n" in outcome.output
    assert "PLAY" not in outcome.output


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_limit_without_a_pi_fails_every_playbook(site: Site, playbook: str) -> None:
    outcome = play(site, f"{GOOD}office:\n  hosts:\n    printer:\n", playbook, "--limit", "printer")
    assert outcome.returncode == 1, outcome.output
    expected = (
        '--limit "printer": selects no Pi of the group smart_meters; inventory/hosts.yml has pi-north there'
    )
    assert f"[ERROR]: {expected}\n" in outcome.output


@pytest.mark.parametrize(
    ("inventory", "expected"),
    [
        ("", "inventory/hosts.yml: there is no group smart_meters"),
        ("{}\n", "inventory/hosts.yml"),
        ("smart_meters:\n", "inventory/hosts.yml: the group smart_meters has no hosts"),
        (
            "smart_meters:\n  children:\n    site_new:\noffice:\n  hosts:\n    printer:\n",
            "; office with hosts is not below it",
        ),
        ("smart_meters:\n  hots:\n    pi-north:\n", "unexpected key (hots) in group (smart_meters)"),
        ("smart_meters:\n  hosts: [\n", "inventory/hosts.yml"),
        (None, "inventory/hosts.yml"),
    ],
    ids=["empty", "no groups", "no hosts", "empty site", "misspelt key", "no YAML", "no file"],
)
def test_an_inventory_without_a_pi_fails(site: Site, inventory: str | None, expected: str) -> None:
    outcome = play(site, inventory, "check.yml")
    assert outcome.returncode == 1, outcome.output
    assert expected in outcome.output


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("pi-nroth", 'matches "pi-nroth"; did you mean pi-north?'),
        ("pi-north,pi-nroth", 'matches "pi-nroth"; did you mean pi-north?'),
        ("all:!pi-nroth", 'matches "pi-nroth"; did you mean pi-north?'),
        ("pi-x*", 'matches "pi-x*"; inventory/hosts.yml has pi-north'),
        ("site_new", '--limit "site_new": selects no Pi'),
        ("localhost", '--limit "localhost": selects no Pi'),
        ("@limit", 'matches "pi-nroth"; did you mean pi-north?'),
        ("", '--limit "": is empty'),
    ],
)
def test_a_limit_that_matches_nothing_fails(site: Site, limit: str, expected: str) -> None:
    site.write("limit", "pi-north\npi-nroth\n")
    outcome = play(site, GOOD, "check.yml", "--limit", limit)
    assert outcome.returncode == 1, outcome.output
    assert expected in outcome.output


def test_hosts_on_the_command_line_are_in_no_group(site: Site) -> None:
    outcome = site.play(*("-i", "pi-north,"), playbook=str(REPOSITORY / "playbooks/check.yml"), inventory="")
    assert outcome.returncode == 1, outcome.output
    assert "Could not match supplied host pattern, ignoring: smart_meters" in outcome.output


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_fails(site: Site, target: str) -> None:
    site.write("inventory/hosts.yml", MISSPELT)
    inventory = site.folder / "inventory/hosts.yml"
    run = subprocess.run(
        [
            "make",
            "--no-print-directory",
            target,
            f"ARGS=-i {inventory}",
            "LIMIT=all:&site_north",
            "HOST=pi-north",
        ],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MAKE"))},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 2, run.stdout + run.stderr
    assert "rename smart_meter to smart_meters" in run.stderr
    assert re.search(r"^make: \*\*\* \[.*\b1$", run.stderr, re.MULTILINE), run.stderr


def test_the_targets_are_all_that_run_a_playbook() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    rules = re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert [name for name, recipe in rules if "$(PLAYBOOK)" in recipe] == TARGETS


def test_a_good_limit_and_a_group_that_only_this_run_makes_go_on(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.hosts({"pi-north": good_host(10), "pi-south": good_host(11)})
    outcome = site.play("--limit", "pi-south", playbook=str(REPOSITORY / "playbooks/check.yml"))
    assert outcome.returncode == 0, outcome.output
    assert "1 Pi checked, nothing to fix" in outcome.output
    # As configure.yml has it for the Pis that differ, and for those that failed.
    site.write(
        "dynamic.yml",
        '- name: Nobody\n  hosts: "{{ groups.nobody | default([]) }}"\n  gather_facts: false\n  tasks: []\n',
    )
    outcome = site.play(playbook="dynamic.yml")
    assert outcome.returncode == 0, outcome.output
    assert "skipping: no hosts matched" in outcome.output


def test_ansible_itself_has_no_use_for_the_plugin(site: Site) -> None:
    # The plugin lies beside the playbooks: Ansible's other programs still read any inventory.
    site.write("inventory/hosts.yml", MISSPELT)
    listed = subprocess.run(
        [Path(sys.executable).with_name("ansible-inventory"), "-i", "inventory/hosts.yml", "--list"],
        cwd=site.folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert listed.returncode == 0, listed.stderr
