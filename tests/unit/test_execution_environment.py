"""The execution environment: made of this repository's own requirements, and of no registry's image."""

from __future__ import annotations

import json
import re
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).resolve().parents[2]
DEFINITION: dict[str, Any] = yaml.safe_load((REPOSITORY / "execution-environment.yml").read_text("utf-8"))
COLLECTIONS: dict[str, str] = {
    collection["name"]: collection["version"]
    for collection in yaml.safe_load((REPOSITORY / "requirements.yml").read_text("utf-8"))["collections"]
}


def requirements(file: str) -> dict[str, Requirement]:
    lines = (REPOSITORY / "requirements" / file).read_text("utf-8").splitlines()
    stated = [line for line in lines if line and not line.startswith(("#", "-"))]
    return {Requirement(line).name: Requirement(line) for line in stated}


def test_it_has_the_form_of_version_three() -> None:
    assert DEFINITION["version"] == 3
    assert set(DEFINITION) == {"version", "images", "dependencies"}
    assert set(DEFINITION["dependencies"]) == {"ansible_core", "ansible_runner", "galaxy", "python", "system"}


@pytest.mark.parametrize("part", ["galaxy", "python", "system"])
def test_it_takes_what_it_needs_from_files_that_are_there(part: str) -> None:
    assert (REPOSITORY / DEFINITION["dependencies"][part]).is_file()


def test_the_base_image_names_no_registry() -> None:
    first, _, rest = DEFINITION["images"]["base_image"]["name"].partition("/")
    assert not rest or not re.search(r"[.:]|^localhost$", first)


def test_its_ansible_is_the_one_that_the_tests_run_with() -> None:
    core = Requirement(DEFINITION["dependencies"]["ansible_core"]["package_pip"])
    assert core.name == "ansible-core"
    assert version("ansible-core") in core.specifier


def test_its_python_packages_are_those_that_the_tests_run_with() -> None:
    stated = {**requirements("pi.in"), **requirements("dev.in")}
    for name, requirement in requirements("controller.txt").items():
        assert requirement == stated[name]
        assert version(name) in requirement.specifier


def test_every_collection_that_is_used_is_required_and_in_the_range_that_is_tested() -> None:
    used: set[str] = set()
    for folder in ("roles", "playbooks", "inventory", "templates"):
        for path in [*(REPOSITORY / folder).rglob("*.yml"), *(REPOSITORY / folder).rglob("*.j2")]:
            used |= set(re.findall(r"\b((?:ansible|community)\.[a-z]+)\.[a-z_]+\b", path.read_text("utf-8")))
    assert used - {"ansible.builtin"} == set(COLLECTIONS)
    installed = distribution("ansible")
    for name, specifier in COLLECTIONS.items():
        manifest = Path(str(installed.locate_file("ansible_collections")), *name.split("."), "MANIFEST.json")
        assert json.loads(manifest.read_text("utf-8"))["collection_info"]["version"] in SpecifierSet(
            specifier
        )


def test_system_packages_are_named_for_both_families() -> None:
    lines = (REPOSITORY / "bindep.txt").read_text("utf-8").splitlines()
    families = {"rpm": 0, "dpkg": 0}
    for line in lines:
        if not line.startswith("#"):
            found = re.fullmatch(r"[a-z0-9-]+ \[platform:(rpm|dpkg)\]", line)
            assert found, line
            families[found[1]] += 1
    assert families["rpm"] == families["dpkg"] > 0
