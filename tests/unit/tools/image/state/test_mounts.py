"""The folders of places.txt on a state partition, and the mounts of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.image.state import mounts
from tools.image.state.places import Place

STATE = Path("/state")


def test_a_layer_is_an_overlay_over_the_images_own_folder() -> None:
    [arguments] = mounts.commands([Place("layer", "/opt/smart-meter")], STATE)

    layer = "/state/layers/opt-smart-meter"
    options = f"lowerdir=/opt/smart-meter,upperdir={layer}/upper,workdir={layer}/work"
    assert arguments == ["-t", "overlay", "-o", options, "opt-smart-meter", "/opt/smart-meter"]


def test_an_own_folder_is_a_bind_mount_of_the_partition() -> None:
    [arguments] = mounts.commands([Place("own", "/var/log/journal")], STATE)

    assert arguments == ["--bind", "/state/own/var-log-journal", "/var/log/journal"]


def test_a_folder_in_memory_has_the_images_mode_and_a_limit(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)

    [arguments] = mounts.commands([Place("memory", str(tmp_path))], STATE)

    assert arguments[:2] == ["-t", "tmpfs"]
    assert arguments[3].startswith("mode=1777,size=64m,")
    assert arguments[-1] == str(tmp_path)


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

    mounts.prepare(PLACES, state, image)

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

    mounts.prepare(PLACES, tmp_path / "state", image)

    assert upper.stat().st_mode & 0o777 == 0o711
    assert (upper / "file").read_text() == "kept"


def test_a_folder_that_a_power_cut_left_half_made_is_made_again(tmp_path: Path, image: Path) -> None:
    half = tmp_path / "state/layers/root/upper.new"
    half.mkdir(parents=True)

    mounts.prepare(PLACES, tmp_path / "state", image)

    assert (tmp_path / "state/layers/root/upper").stat().st_mode & 0o777 == 0o700
    assert not half.exists()


def test_a_mount_that_fails_is_reported_and_stops_no_other() -> None:
    called: list[str] = []
    problems: list[str] = []

    def call(*arguments: str) -> None:
        called.append(arguments[-1])
        if arguments[-1] == "/etc":
            raise OSError("mount /etc: stale file handle")

    places = [Place("layer", "/etc"), Place("own", "/var/log/journal")]
    mounts.mount_all(places, STATE, problems.append, call)

    assert called == ["/etc", "/var/log/journal"]
    assert problems == ["mount /etc: stale file handle"]
