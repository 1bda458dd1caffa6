"""Files of variables that nothing reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from roles.preflight.rules.files import inventory_files, unread_files, unread_inventories, variable_files

HOSTS = ["pi-north", "pi.example"]
GROUPS = ["all", "ungrouped", "smart_meters", "site_north"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in (
        "host_vars/pi-north.yml", "host_vars/pi.example", "group_vars/all/fleet.yml",
        "group_vars/site_north/main.yml", "host_vars/.draft.yml", "host_vars/pi-north.yml~",
    ):  # fmt: skip
        write(tmp_path, file)
    return tmp_path


def write(folder: Path, file: str) -> None:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("a: 1\n")


def problems_of(folder: Path) -> list[tuple[str, str, bool]]:
    found = unread_files(folder, HOSTS, GROUPS)
    return [(str(each.path.relative_to(folder)), each.message, each.likely) for each in found]


def test_files_and_folders_of_hosts_and_groups_pass(folder: Path) -> None:
    assert problems_of(folder) == []


def test_a_misspelt_name_is_reported_with_the_one_that_is_meant(folder: Path) -> None:
    write(folder, "host_vars/pi-nroth.yml")
    write(folder, "group_vars/site_noth/main.yml")
    assert problems_of(folder) == [
        (
            "host_vars/pi-nroth.yml",
            "is not a host in the inventory, so nothing reads this; did you mean pi-north?",
            True,
        ),
        (
            "group_vars/site_noth",
            "is not a group in the inventory, so nothing reads this; did you mean site_north?",
            True,
        ),
    ]


def test_a_name_unlike_any_may_be_a_pi_that_is_gone(folder: Path) -> None:
    write(folder, "host_vars/workshop.yml")
    assert problems_of(folder) == [
        (
            "host_vars/workshop.yml",
            "is not a host in the inventory, so nothing reads this; rename it after a host in the inventory, "
            "or remove it",
            False,
        )
    ]


def test_a_file_beside_a_folder_of_its_name_is_not_read(folder: Path) -> None:
    write(folder, "group_vars/all.yml")
    assert problems_of(folder) == [
        ("group_vars/all.yml", "is not read beside group_vars/all; move its lines there", True)
    ]


def test_of_two_suffixes_ansible_reads_one(folder: Path) -> None:
    write(folder, "host_vars/pi-north.yaml")
    write(folder, "host_vars/pi-north.json")
    write(folder, "group_vars/smart_meters.json")
    message = "is not read beside host_vars/pi-north.yml; move its lines there"
    assert problems_of(folder) == [
        ("host_vars/pi-north.json", message, True),
        ("host_vars/pi-north.yaml", message, True),
    ]


def test_an_inventory_has_one_suffix(tmp_path: Path) -> None:
    write(tmp_path, "hosts.yml")
    write(tmp_path, "hosts.yaml")
    [found] = unread_inventories([tmp_path / "hosts.yml"])
    assert (found.path, found.likely) == (tmp_path / "hosts.yaml", True)
    assert found.message == "is not read beside hosts.yml; move its lines there"
    assert list(unread_inventories([tmp_path / "hosts.yml", tmp_path / "hosts.yaml"])) == []
    # A folder is read with all of its files.
    assert list(unread_inventories([tmp_path])) == []
    assert [path.name for path in inventory_files([str(tmp_path), "pi-north,"])] == [
        "hosts.yaml",
        "hosts.yml",
    ]


def test_the_files_of_variables_are_those_of_the_hosts_and_groups(folder: Path) -> None:
    write(folder, "host_vars/pi-north.yaml")
    write(folder, "group_vars/all/.hidden.yml")
    write(folder, "group_vars/site_south/main.yml")
    files = variable_files(folder, ["pi-north", "pi-west", "pi.example"], GROUPS)
    assert [str(path.relative_to(folder)) for path in files] == [
        "host_vars/pi-north.yml",
        "host_vars/pi.example",
        "group_vars/all/fleet.yml",
        "group_vars/site_north/main.yml",
    ]
