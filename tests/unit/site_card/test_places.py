"""Each path that a card writes is stored on the state partition of an image."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.image.state.places import place_of, read

from smart_meter.site_card import places, record
from smart_meter.site_card.apply import Result, apply
from tests.unit.site_card.sample import VirtualPi, card, data, files

LISTED = read()
# By useradd and ufw.
BY_PROGRAMS = ("/etc/passwd", "/etc/group", "/etc/subuid", "/home/pi/.profile", "/etc/ufw/user6.rules")


@pytest.mark.parametrize(
    "path",
    sorted(
        {
            *(path for place in places.PLACES for path in (place.path, place.copy, place.link) if path),
            *BY_PROGRAMS,
            record.PATH,
        }
    ),
)
def test_a_place_is_stored_on_the_state_partition(path: str) -> None:
    place = place_of(path, LISTED)

    assert place is not None
    assert place.kind in ("layer", "own")


def test_everything_that_a_card_changes_is_stored_on_the_state_partition(tmp_path: Path) -> None:
    pi = VirtualPi(tmp_path)
    pi.write("/etc/ufw/ufw.conf", "ENABLED=no\n")
    texts = {"sshd": files()["sshd"].replace("AllowUsers pi", "AllowUsers meter")}
    before = pi.state()
    folders = {path for path in pi.root.rglob("*") if path.is_dir()}
    pi.put(data(card(texts, user="meter", sudo_asks=False)))

    assert apply(pi.boot, pi.root, pi.run, pi.numbers).result is Result.APPLIED

    now = pi.state()
    changed = {f"/{name}" for name in now if now[name] != before.get(name)}
    changed |= {f"/{path.relative_to(pi.root)}" for path in pi.root.rglob("*") if path.is_dir()} - {
        f"/{path.relative_to(pi.root)}" for path in folders
    }
    # A parent of a place, and a folder in memory, which only this root without an image's folders lacks.
    changed -= {"/opt", "/run", "/usr/local", "/var", "/var/lib"}
    assert len(changed) > 40
    for path in sorted(changed):
        place = place_of(path, LISTED)
        assert place is not None, path
        assert place.kind in ("layer", "own"), path


def test_what_a_file_is_renamed_over_is_not_a_mount() -> None:
    """Nothing can be renamed over a mount, so no mount is one of the card's files."""
    mounts = {place.path for place in LISTED}

    assert not mounts & {place.path for place in places.PLACES}
    assert not mounts & {"/etc/hosts", "/etc/shadow", "/etc/passwd", "/etc/localtime", record.PATH}
