"""places.txt: what changes on an image, and where it is stored."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.roles.site import REPOSITORY
from tools.image.state import places
from tools.image.state.places import Place

PLACES = places.read()
_PATH = re.compile(r"(?<![\w~}/.])/(?:etc|var|opt|home|root|usr/local)(?:/[\w.@-]+)+")
# Of other programs, or only read.
_READ = re.compile(r"/(etc/(passwd|os-release|netplan)|var/(cache/apt|lib/(dpkg|apt|cloud)))\b")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/machine-id", "layer"),
        ("/etc/hostname", "layer"),
        ("/etc/hosts", "layer"),
        ("/etc/localtime", "layer"),
        ("/etc/smart-meter/config.toml", "layer"),
        ("/etc/NetworkManager/system-connections/smart-meter-field.nmconnection", "layer"),
        ("/etc/ssh/ssh_host_ed25519_key", "layer"),
        ("/etc/ufw/user.rules", "layer"),
        ("/etc/default/ufw", "layer"),
        ("/opt/smart-meter/current", "layer"),
        ("/home/pi/.ssh/authorized_keys", "layer"),
        ("/var/lib/smart-meter-guard/profiles/smart-meter-control.nmconnection", "layer"),
        ("/var/lib/systemd/timesync/clock", "layer"),
        ("/var/lib/smart-meter/history.db", "own"),
        ("/var/lib/smart-meter-card/applied.json", "own"),
        ("/var/log/journal/x/system.journal", "own"),
        ("/var/log/ufw.log", "layer"),
        ("/var/cache/x", "memory"),
    ],
)
def test_what_changes_is_stored(path: str, kind: str) -> None:
    place = places.place_of(path, PLACES)

    assert place is not None
    assert place.kind == kind


@pytest.mark.parametrize(
    "path", ["/usr/bin/python3", "/etcetera", "/var/lib/dpkg/status", "/boot/firmware", "/"]
)
def test_everything_else_is_read_only(path: str) -> None:
    assert places.place_of(path, PLACES) is None


def test_each_path_that_the_roles_and_templates_name_can_be_written_or_is_only_read() -> None:
    named = set()
    for folder in ("roles", "templates", "playbooks"):
        for file in (REPOSITORY / folder).rglob("*"):
            if file.suffix in {".yml", ".j2", ".sh"}:
                named |= set(_PATH.findall(file.read_text(encoding="utf-8")))
    assert len(named) > 40

    assert sorted(p for p in named if not places.place_of(p, PLACES) and not _READ.match(p)) == []


def test_folders_have_different_names_on_the_state_partition() -> None:
    assert len({place.name for place in PLACES}) == len(PLACES)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("layer etc", "line 1: 'layer etc' is not a kind and an absolute path"),
        ("bind /etc", "line 1"),
        ("layer /etc/", "line 1"),
        ("layer", "line 1"),
        ("layer /etc\nown /etc", "line 2: /etc is listed already"),
        ("own /var/log/journal\nlayer /var/log", "line 2: /var/log is listed already, or a folder in it is"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "places").write_text(text)

    with pytest.raises(ValueError, match=re.escape(problem)):
        places.read(tmp_path / "places")


def test_comments_and_empty_lines_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "places").write_text("# a list\n\nlayer /etc  # all of it\n")

    assert places.read(tmp_path / "places") == [Place("layer", "/etc")]
