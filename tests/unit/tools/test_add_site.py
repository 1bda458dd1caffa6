"""`make site NAME=east`: what it adds, keeps and refuses."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("add_site", REPOSITORY / "tools" / "add_site.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REPOSITORY / "inventory", tmp_path / "inventory"))


def add(tool: ModuleType, inventory: Path, name: str) -> int:
    return int(tool.main([name, "--inventory", str(inventory)]))


def test_a_site_is_added_and_all_that_was_there_stays(tool: ModuleType, inventory: Path) -> None:
    before = (inventory / "hosts.yml").read_text()
    assert add(tool, inventory, "east") == 0
    after = (inventory / "hosts.yml").read_text()
    assert after.startswith(before), "lines are added, none is changed"
    sites = yaml.safe_load(after)["smart_meters"]["children"]
    assert list(sites) == [*yaml.safe_load(before)["smart_meters"]["children"], "site_east"]
    variables = yaml.safe_load((inventory / "group_vars/site_east/main.yml").read_text())
    assert variables == {
        "preflight_site": "east",
        "network_field_ssid": "east-field",
        "network_field_psk": "{{ vault_network_field_psk }}",
    }


def test_sites_may_be_added_one_after_the_other(tool: ModuleType, inventory: Path) -> None:
    assert add(tool, inventory, "east") == add(tool, inventory, "far_west_2") == 0
    sites = yaml.safe_load((inventory / "hosts.yml").read_text())["smart_meters"]["children"]
    assert list(sites)[-2:] == ["site_east", "site_far_west_2"]


def test_it_says_what_to_do_next(
    tool: ModuleType, inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(tool, inventory, "east")
    said = capsys.readouterr().out
    assert "group_vars/site_east/main.yml" in said
    assert "make vault SITE=east" in said
    assert "make check LIMIT=site_east" in said


@pytest.mark.parametrize(
    "name", ["", "East", "north-east", "1st", "a b", "../x", "all", "site_east", "ö", "x" * 41]
)
def test_a_bad_name_is_refused_with_what_would_be_right(
    tool: ModuleType, inventory: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = sorted(inventory.rglob("*"))
    assert add(tool, inventory, name) == 1
    assert "; give " in capsys.readouterr().err or name == "site_east"
    assert sorted(inventory.rglob("*")) == before


def test_a_site_that_is_there_is_left_alone(
    tool: ModuleType, inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (inventory / "group_vars/site_north/main.yml").read_text()
    assert add(tool, inventory, "north") == 1
    assert "there is a group site_north already" in capsys.readouterr().err
    assert (inventory / "group_vars/site_north/main.yml").read_text() == before


@pytest.mark.parametrize("left", ["group_vars/site_east.yml", "group_vars/site_east/vault.yml"])
def test_what_an_earlier_site_has_left_is_not_taken_over(
    tool: ModuleType, inventory: Path, capsys: pytest.CaptureFixture[str], left: str
) -> None:
    (inventory / left).parent.mkdir(exist_ok=True)
    (inventory / left).write_text("")
    assert add(tool, inventory, "east") == 1
    assert "already exists" in capsys.readouterr().err
    assert "site_east" not in (inventory / "hosts.yml").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "smart_meters: {children: {site_north: {hosts: {pi-north: }}}}\n",
        "smart_meters:\n  hosts:\n    pi-north:\n",
        "smart_meters:\n    children:\n        site_north:\n            hosts:\n",
        "all:\n  children:\n    smart_meters:\n      children:\n        site_north:\n",
        "",
    ],
)
def test_a_file_in_another_form_is_not_touched_and_the_lines_are_shown(
    tool: ModuleType, inventory: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (inventory / "hosts.yml").write_text(text)
    assert add(tool, inventory, "east") == 1
    assert "add by hand:\n    site_east:" in capsys.readouterr().err
    assert (inventory / "hosts.yml").read_text() == text
    assert not (inventory / "group_vars/site_east").exists()


def test_what_stands_behind_the_sites_stays_behind_them(tool: ModuleType, inventory: Path) -> None:
    text = (
        "---\n"
        "smart_meters:\n"
        "  children:\n"
        "    site_north:\n"
        "      hosts:\n"
        "        pi-north:\n"
        "        # pi-north-2 is in the workshop\n"
        "  vars:\n"
        "    # for all\n"
        "    appliance_timezone: Europe/Berlin\n"
        "\n"
        "# Other machines\n"
        "gates:\n"
        "  hosts:\n"
        "    gate:"
    )
    (inventory / "hosts.yml").write_text(text)
    assert add(tool, inventory, "east") == 0
    after = (inventory / "hosts.yml").read_text()
    head, lines, tail = after.partition("    site_east:\n")
    assert head.endswith("# pi-north-2 is in the workshop\n")
    assert lines
    assert tail.endswith(text[text.index("  vars:") :])
    assert list(yaml.safe_load(after)["smart_meters"]) == ["children", "vars"]


def test_the_first_site_of_all_can_be_added(tool: ModuleType, inventory: Path) -> None:
    (inventory / "hosts.yml").write_text("smart_meters:\n  children:\n")
    assert add(tool, inventory, "east") == 0
    assert list(yaml.safe_load((inventory / "hosts.yml").read_text())["smart_meters"]["children"]) == [
        "site_east"
    ]
