"""The folders of places.txt on a state partition, and the mounts of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tools.image.state import mounts
from tools.image.state.places import Place

STATE = Path("/state")


def test_a_layer_is_an_overlay_over_the_images_own_folder() -> None:
    arguments = mounts.command(Place("layer", "/opt/smart-meter"), STATE)

    layer = "/state/layers/opt-smart-meter"
    options = f"lowerdir=/opt/smart-meter,upperdir={layer}/upper,workdir={layer}/work"
    assert arguments == ["-t", "overlay", "-o", options, "opt-smart-meter", "/opt/smart-meter"]


def test_an_own_folder_is_a_bind_mount_of_the_partition() -> None:
    arguments = mounts.command(Place("own", "/var/log/journal"), STATE)

    assert arguments == ["--bind", "/state/own/var-log-journal", "/var/log/journal"]


def test_a_folder_in_memory_has_the_images_mode_and_a_limit(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)

    arguments = mounts.command(Place("memory", str(tmp_path)), STATE)

    assert arguments[:2] == ["-t", "tmpfs"]
    assert arguments[3].startswith("mode=1777,size=64m,")
    assert arguments[-1] == str(tmp_path)


def test_a_mount_that_does_not_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mount"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(mounts, "_PROGRAM", str(program))
    monkeypatch.setattr(mounts, "SECONDS", 0.2)

    with pytest.raises(OSError, match=r"mount /state: it did not end within 0\.2 s"):
        mounts.mount("/dev/mmcblk0p8", "/state")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    root = tmp_path / "image"
    (root / "root").mkdir(parents=True)
    (root / "root").chmod(0o700)
    (root / "var/log/journal").mkdir(parents=True)
    (root / "var/log/journal").chmod(0o2755)
    return root


PLACES = [Place("layer", "/root"), Place("own", "/var/log/journal"), Place("memory", "/var/tmp")]  # noqa: S108


def test_missing_folders_get_the_mode_of_the_images_own(tmp_path: Path, image: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()

    for place in PLACES:
        mounts.prepare(place, state, image)

    assert (state / "layers/root/upper").stat().st_mode & 0o7777 == 0o700
    assert (state / "own/var-log-journal").stat().st_mode & 0o7777 == 0o2755
    assert sorted(str(path.relative_to(state)) for path in state.rglob("*")) == [
        "layers",
        "layers/root",
        "layers/root/upper",
        "layers/root/work",
        "own",
        "own/var-log-journal",
    ]


def test_what_is_there_stays_as_it_is(tmp_path: Path, image: Path) -> None:
    upper = tmp_path / "state/layers/root/upper"
    upper.mkdir(parents=True)
    upper.chmod(0o711)
    (upper / "file").write_text("kept")

    for place in PLACES:
        mounts.prepare(place, tmp_path / "state", image)

    assert upper.stat().st_mode & 0o777 == 0o711
    assert (upper / "file").read_text() == "kept"


def test_a_folder_that_a_power_cut_left_half_made_is_made_again(tmp_path: Path, image: Path) -> None:
    half = tmp_path / "state/layers/root/upper.new"
    half.mkdir(parents=True)

    for place in PLACES:
        mounts.prepare(place, tmp_path / "state", image)

    assert (tmp_path / "state/layers/root/upper").stat().st_mode & 0o777 == 0o700
    assert not half.exists()


ETC, LOG = Place("layer", "/etc"), Place("own", "/var/log")


def mounted(state: Path, memory: Path, fails: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Return what was mounted, and the problems. fails: by the words of a call of mount(8)."""
    called: list[str] = []
    problems: list[str] = []

    def call(*arguments: str) -> None:
        words = " ".join(arguments)
        if fails(words):
            raise OSError("stale file handle")
        called.append(words)

    mounts.mount_all([ETC, LOG], state, memory, problems.append, call)
    return called, problems


def test_a_place_that_cannot_be_mounted_is_kept_in_memory_and_stops_no_other(tmp_path: Path) -> None:
    state, memory = tmp_path / "state", tmp_path / "memory"

    called, problems = mounted(state, memory, lambda words: f"upperdir={state}" in words)

    first, second = called
    assert f"upperdir={memory}/layers/etc/upper" in first
    assert second == f"--bind {state}/own/var-log /var/log"
    assert problems == ["/etc is kept in memory until the next restart: stale file handle"]


def test_a_state_partition_without_room_for_a_folder_keeps_the_others(tmp_path: Path) -> None:
    state, memory = tmp_path / "state", tmp_path / "memory"
    state.mkdir()
    # Nothing can be made below it.
    (state / "own").write_text("")

    called, [problem] = mounted(state, memory, lambda _: False)

    assert f"upperdir={state}/layers/etc/upper" in called[0]
    assert called[1] == f"--bind {memory}/own/var-log /var/log"
    assert problem.startswith("/var/log is kept in memory until the next restart: ")


def test_a_place_that_cannot_be_kept_anywhere_is_read_only(tmp_path: Path) -> None:
    called, problems = mounted(tmp_path / "state", tmp_path / "memory", lambda _: True)

    assert called == []
    assert [problem.split(":")[0] for problem in problems] == [
        "/etc is kept in memory until the next restart",
        "/etc is read-only",
        "/var/log is kept in memory until the next restart",
        "/var/log is read-only",
    ]
