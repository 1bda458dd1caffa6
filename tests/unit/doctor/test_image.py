"""The state partition of an image: in use, repaired, set aside, or lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from tools.image import install
from tools.image.state import boot

from smart_meter.doctor import facts, image
from smart_meter.doctor.check import Level
from smart_meter.doctor.image import judge_state, report


@pytest.mark.parametrize(
    ("found", "level", "text"),
    [
        ({"kind": "state", "device": "mmcblk0p8"}, Level.OK, "mmcblk0p8"),
        (
            {"kind": "state", "device": "mmcblk0p8", "repaired": True},
            Level.OK,
            "mmcblk0p8, repaired at this start",
        ),
        (
            {"kind": "state", "device": "mmcblk0p8", "problems": ["mount /home: no room", "x"]},
            Level.WARNING,
            "mount /home: no room; x",
        ),
        (
            {"kind": "spare", "device": "mmcblk0p7", "why": "it can't be repaired: x", "set_aside": 1.8e9},
            Level.WARNING,
            "set aside on 2027-01-15 (it can't be repaired: x); the spare partition mmcblk0p7 replaces it",
        ),
        (
            {"kind": "spare", "device": "mmcblk0p7", "why": "x", "set_aside": 17.0},
            Level.WARNING,
            "set aside (x); the spare partition mmcblk0p7 replaces it",
        ),
        (
            {"kind": "memory", "why": "no partition 8"},
            Level.BAD,
            "not in use (no partition 8): all changes and samples are lost at the next restart",
        ),
        ({"kind": "other"}, Level.BAD, "the initrd has left no report"),
        (None, Level.BAD, "the initrd has left no report"),
    ],
)
def test_the_state_partition(found: dict[str, Any] | None, level: Level, text: str) -> None:
    check = judge_state(found)

    assert (check.level, check.found) == (level, text)
    assert bool(check.fix) is (level is not Level.OK)


def test_the_report_is_that_of_the_initrd(tmp_path: Path) -> None:
    boot.write_report(boot.Report("spare", "mmcblk0p7", "x", 1.78e9), tmp_path)

    assert f"/{boot.REPORT}" == str(image.REPORT)
    assert judge_state(report(tmp_path / boot.REPORT)).level is Level.WARNING


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff", json.dumps("state")])
def test_a_report_that_is_torn_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content, encoding="latin-1")

    assert report(tmp_path / "state.json") is None
    assert report(tmp_path / "none") is None


def test_an_image_is_known_by_the_file_of_the_build(tmp_path: Path) -> None:
    assert f"/{install.MARKER}" == str(image.MARKER)
    assert not image.is_image(tmp_path / "image")
    (tmp_path / "image").touch()
    assert image.is_image(tmp_path / "image")


def test_the_room_on_an_images_state_partition_stands_for_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "STATE", str(tmp_path))
    assert [disk.path for disk in facts.disks(None)] == ["/"]

    monkeypatch.setattr(image, "is_image", lambda: True)
    assert [disk.path for disk in facts.disks(None)] == [str(tmp_path)]
