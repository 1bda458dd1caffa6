"""playbooks/doctor.yml on a new controller, with a Pi that does not answer."""

from __future__ import annotations

import json
import shutil
import socket
import stat
from pathlib import Path

import pytest

from tests.unit.roles.site import REPOSITORY, Outcome, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A fresh clone with an inventory of one Pi, at a closed port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    site = Site(tmp_path)
    shutil.copytree(REPOSITORY / "playbooks", tmp_path / "playbooks")
    for folder in ("roles", "src", "templates"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    site.write("inventory/group_vars/all.yml", "")
    site.hosts({"pi-north": f"ansible_host: 127.0.0.1\nansible_port: {port}\n"})
    return site


def run_doctor(site: Site, *arguments: str) -> Outcome:
    return site.play("-e", '{"doctor_strict": false}', *arguments, playbook="playbooks/doctor.yml")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["run", "check mode"])
def test_a_fresh_clone_gets_its_cache_folder(site: Site, arguments: tuple[str, ...]) -> None:
    outcome = run_doctor(site, *arguments)
    assert outcome.returncode == 0, outcome.output
    assert "BAD  pi-north: does not answer: " in outcome.output
    assert "changed=0" in outcome.output
    found = json.loads((site.folder / ".cache/doctor.json").read_text())
    assert [(host["name"], host["state"]) for host in found["hosts"]] == [("pi-north", "off")]
    assert mode(site.folder / ".cache") == 0o700
    assert mode(site.folder / ".cache/doctor.json") == 0o600


def test_a_missing_folder_for_the_results_is_created(site: Site, tmp_path: Path) -> None:
    results = tmp_path / "reports/november/doctor.json"
    outcome = run_doctor(site, "-e", f"doctor_results={results}")
    assert outcome.returncode == 0, outcome.output
    assert results.exists()
    assert not (tmp_path / ".cache").exists()


def test_an_existing_folder_keeps_its_mode(site: Site, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o1777)
    assert run_doctor(site, "-e", f"doctor_results={shared}/doctor.json").returncode == 0
    assert mode(shared) == 0o1777
    assert mode(shared / "doctor.json") == 0o600
